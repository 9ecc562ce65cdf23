if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Storage do
    @moduledoc """
    A `Jido.Storage` on the store of a Kantoku instance, for what Jido itself hibernates and thaws.

        defmodule MyApp.Jido do
          use Jido, otp_app: :my_app, storage: {Kantoku.Jido.Storage, instance: MyApp.Agents}
        end

    Agents that Kantoku starts need it not: their state is in snapshots of their own (`Kantoku.Jido`). It is for `Jido.Persist`, for
    `Jido.Agent.InstanceManager`, and for the journals of threads.

    Options: `:instance`, whose store it is; or `:store`, one that was opened by `Kantoku.Store.open/2`.

    What is answered with `:ok` is as safe as the store can make it: with `Kantoku.Store.Disk`, committed. A checkpoint takes the place of
    the one before it. Entries of a thread lie in pieces, so that to append costs the same however long a thread is; who appends
    to one takes turns with others on this node, and a crash in the middle leaves the thread as it was.
    """
    @behaviour Jido.Storage

    alias Jido.Thread
    alias Jido.Thread.EntryNormalizer
    alias Kantoku.{Error, Instances, Store}
    alias Kantoku.Domain.Book

    # Entries to a piece. The last piece is written anew at each append until it is full.
    @piece 64

    # How long a store is waited for that writes in the background, in ms.
    @patience 30_000

    # Checkpoints ----------------------------------------------------------------------------------------------------------

    @doc "The checkpoint under a key, or `:not_found`."
    @impl true
    def get_checkpoint(key, opts), do: within(opts, &fetch(&1, checkpoint(key)))

    @doc "Keeps a checkpoint in place of the one before."
    @impl true
    def put_checkpoint(key, data, opts), do: within(opts, &keep(&1, checkpoint(key), data))

    @doc "Removes a checkpoint, if there is one."
    @impl true
    def delete_checkpoint(key, opts), do: within(opts, &Store.delete(&1, checkpoint(key)))

    defp checkpoint(key), do: {Kantoku.Jido, :checkpoint, key}

    # Threads --------------------------------------------------------------------------------------------------------------

    @doc "A thread with all its entries, or `:not_found`."
    @impl true
    def load_thread(id, opts), do: within(opts, &load(&1, id))

    @doc "Appends entries; with `:expected_rev`, only to a thread of that revision: `{:error, :conflict}` otherwise."
    @impl true
    def append_thread(id, entries, opts) do
      within(opts, fn store -> in_turn(opts, id, fn -> append(store, id, entries, opts) end) end)
    end

    @doc "Removes a thread, if there is one."
    @impl true
    def delete_thread(id, opts) do
      within(opts, fn store -> in_turn(opts, id, fn -> remove(store, id) end) end)
    end

    # An instance has locks whose waiters have their turn; those of `:global` wait for a random time.
    defp in_turn(opts, id, fun) do
      case opts[:instance] do
        nil -> :global.trans({{__MODULE__, opts[:store], id}, self()}, fun, [node()])
        instance -> Kantoku.Registry.lock(instance, {__MODULE__, id}, fun)
      end
    end

    # The head says how many entries there are. It is written after them: what it does not count is not there.
    defp head(id), do: {Kantoku.Jido, :thread, id}
    defp piece(id, number), do: {Kantoku.Jido, :thread, id, number}

    defp load(store, id) do
      with {:ok, head} <- fetch(store, head(id)),
           {:ok, entries} <- entries(store, id, 0, last_piece(head.rev)) do
        thread(id, head, Enum.take(entries, head.rev))
      end
    end

    defp thread(_id, %{rev: 0}, _entries), do: :not_found

    defp thread(id, head, entries) do
      {:ok,
       %Thread{
         id: id,
         rev: head.rev,
         entries: entries,
         created_at: head.created_at,
         updated_at: head.updated_at,
         metadata: head.metadata,
         stats: %{entry_count: head.rev}
       }}
    end

    defp last_piece(rev), do: max(div(rev - 1, @piece), 0)

    defp entries(store, id, from, to) do
      Enum.reduce_while(from..to//1, {:ok, []}, fn number, {:ok, pieces} ->
        case fetch(store, piece(id, number)) do
          {:ok, entries} -> {:cont, {:ok, [pieces, entries]}}
          :not_found -> {:halt, {:error, {:missing, piece(id, number)}}}
          {:error, _reason} = error -> {:halt, error}
        end
      end)
      |> flat()
    end

    defp flat({:ok, pieces}), do: {:ok, List.flatten(pieces)}
    defp flat(error), do: error

    defp append(store, id, entries, opts) do
      now = System.system_time(:millisecond)

      with {:ok, head} <- head(store, id, now, opts),
           :ok <- expected(opts[:expected_rev], head.rev),
           :ok <- write(store, id, head.rev, EntryNormalizer.normalize_many(entries, head.rev, now)),
           head = %{head | rev: head.rev + length(entries), updated_at: now},
           :ok <- keep(store, head(id), head) do
        appended(load(store, id), id, head)
      end
    end

    # Nothing was appended to what is not there.
    defp appended(:not_found, id, head), do: {:ok, %{Thread.new(id: id) | metadata: head.metadata}}
    defp appended(other, _id, _head), do: other

    defp head(store, id, now, opts) do
      with :not_found <- fetch(store, head(id)),
           do: {:ok, %{rev: 0, created_at: now, updated_at: now, metadata: opts[:metadata] || %{}}}
    end

    defp expected(nil, _rev), do: :ok
    defp expected(rev, rev), do: :ok
    defp expected(_expected, _rev), do: {:error, :conflict}

    defp write(_store, _id, _rev, []), do: :ok

    defp write(store, id, rev, entries) do
      number = div(rev, @piece)

      with {:ok, begun} <- begun(store, id, rev) do
        [begun ++ entries]
        |> List.flatten()
        |> Enum.chunk_every(@piece)
        |> Enum.with_index(number)
        |> Enum.reduce_while(:ok, fn {piece, number}, :ok -> go_on(keep(store, piece(id, number), piece)) end)
      end
    end

    defp go_on(:ok), do: {:cont, :ok}
    defp go_on(error), do: {:halt, error}

    # Of the last piece what the head counts: a crash may have left more.
    defp begun(_store, _id, rev) when rem(rev, @piece) == 0, do: {:ok, []}

    defp begun(store, id, rev) do
      with {:ok, entries} <- entries(store, id, div(rev, @piece), div(rev, @piece)),
           do: {:ok, Enum.take(entries, rem(rev, @piece))}
    end

    defp remove(store, id) do
      case fetch(store, head(id)) do
        {:ok, %{rev: rev}} ->
          Enum.reduce([head(id) | for(n <- 0..last_piece(rev), do: piece(id, n))], :ok, &delete(store, &1, &2))

        :not_found ->
          :ok

        {:error, _reason} = error ->
          error
      end
    end

    defp delete(store, key, :ok), do: Store.delete(store, key)
    defp delete(_store, _key, error), do: error

    # The store ------------------------------------------------------------------------------------------------------------

    defp within(opts, fun) do
      case store(opts) do
        {:error, _reason} = error -> error
        nil -> {:error, :no_store}
        {_module, _ref} = store -> fun.(store)
      end
    end

    defp store(opts) do
      case opts |> Keyword.take([:store, :instance]) |> Enum.reject(&(elem(&1, 1) == nil)) do
        [store: store] ->
          store

        [instance: instance] ->
          Instances.reading(instance, fn _rows, book -> Book.agent_options(book).store end)

        _other ->
          raise ArgumentError, "Kantoku.Jido.Storage expects the option :instance or :store, got: #{inspect(opts)}"
      end
    end

    defp fetch(store, key) do
      case Store.get(store, key) do
        {:ok, _version, bytes} -> {:ok, :erlang.binary_to_term(bytes)}
        :none -> :not_found
        {:damaged, text} -> {:error, {:damaged, text}}
        {:error, reason} -> {:error, reason}
      end
    end

    # Here the last writer is right: it takes the version after whatever it finds.
    defp keep(store, key, term) do
      with {:error, :timeout} <- Store.overwrite(store, key, :erlang.term_to_binary(term), @patience),
           do: {:error, Error.new(:timeout, id: Kantoku.Jido.Storage, timeout: @patience)}
    end
  end
end
