defmodule Kantoku.Store do
  @moduledoc """
  Where the last snapshot of each agent is kept.

  A store knows keys, versions and bytes, nothing of agents. Its one promise: **an older snapshot never takes the place of a newer one**,
  whoever writes when. A version is `{incarnation, revision}` and compares in that order, so what a process that was given up still
  writes loses against its successor. The same version may be written again.

    * `Kantoku.Store.Memory` - outlives an agent, its domain and its server; ends with the instance;
    * `Kantoku.Store.Disk` - outlives the VM.

  An instance opens its store once; agents are given `{module, ref}`.

      iex> {:ok, store} = Kantoku.Store.open(MyApp.Agents, Kantoku.Store.Memory)
      iex> Kantoku.Store.put(store, "a", {1, 1}, "bytes", nil)
      :ok
      iex> Kantoku.Store.put(store, "a", {1, 0}, "older", nil)
      {:error, :stale}
      iex> Kantoku.Store.get(store, "a")
      {:ok, {1, 1}, "bytes"}

  ## Writing a store

  Implement the callbacks. `c:put/5` may answer `:pending` and later send `{:kantoku_store, reply_ref, :ok | {:error, reason}}` to the
  caller; `c:get/2` sees what was put before, pending or not.
  """

  @type t :: {module, ref :: term}
  @type id :: term

  @typedoc "An agent's id as bytes, see `key/1`."
  @type key :: binary

  @typedoc "Compares as a tuple does."
  @type version :: {incarnation :: pos_integer, revision :: non_neg_integer}

  @typedoc "What is wrong with a store, see `c:standing/1`."
  @type standing :: %{failing_for: non_neg_integer | nil, set_aside_ago: non_neg_integer | nil}

  @doc "Opens the store of an instance. Called in the process whose life the store may depend on."
  @callback open(instance :: atom, keyword) :: {:ok, ref :: term} | {:error, reason :: term}

  @doc """
  Keeps bytes under a key, if nothing newer is there: `{:error, :stale}` otherwise. With a `reply_ref` the caller wants to know when they
  are as safe as this store can make them: `:ok` says they are, `:pending` promises the message. Without one `:ok` means that the store
  has them, and sees to the rest. `{:error, :busy}` asks to try again later.
  """
  @callback put(ref :: term, key, version, binary, reply_ref :: reference | nil) ::
              :ok | :pending | {:error, reason :: term}

  @doc "The newest bytes under a key. `{:damaged, text}` if there are some, but not as they were written."
  @callback get(ref :: term, key) ::
              {:ok, version, binary} | :none | {:damaged, text :: binary} | {:error, reason :: term}

  @doc "Removes what is under a key, unless it is newer than `version`."
  @callback delete(ref :: term, key, version) :: :ok | {:error, reason :: term}

  @doc "Takes what is under a key out of the way, and keeps it for people to look at: the last one of each key."
  @callback set_aside(ref :: term, key) :: :ok | {:error, reason :: term}

  @doc "About `limit` keys from `cursor` (first: `nil`), and the cursor of those that follow."
  @callback keys(ref :: term, cursor :: term, limit :: pos_integer) :: {[key], next :: term | :done}

  @doc "Returns when all that was put before is kept."
  @callback flush(ref :: term) :: :ok | {:error, reason :: term}

  @doc "Flushes and ends the store."
  @callback close(ref :: term) :: :ok | {:error, reason :: term}

  @doc "Whether what it keeps outlives the VM."
  @callback durable?() :: boolean

  @doc "For how many ms reads or writes have failed, and how long ago what was kept was set aside as a whole; `nil`: not so. At once."
  @callback standing(ref :: term) :: standing

  @optional_callbacks standing: 1

  @doc """
  Opens a store for an instance: `Kantoku.Store.Memory`, or `{Kantoku.Store.Disk, path: path}`; options as the store documents them.
  """
  @spec open(instance :: atom, module | {module, keyword}) :: {:ok, t} | {:error, reason :: term}
  def open(instance, {module, opts}) when is_atom(module) and is_list(opts) do
    if not (Code.ensure_loaded?(module) and function_exported?(module, :put, 5)) do
      raise ArgumentError, "option :store expects a module that implements Kantoku.Store, got: #{inspect(module)}"
    end

    with {:ok, ref} <- module.open(instance, opts), do: {:ok, {module, ref}}
  end

  def open(instance, module) when is_atom(module), do: open(instance, {module, []})

  def open(_instance, other) do
    raise ArgumentError, "option :store expects a module or {module, options}, got: #{inspect(other)}"
  end

  @doc """
  The bytes that stand for an agent's id. They are the same in every VM for ids of atoms, numbers, binaries, and tuples, lists and maps
  of those.

      iex> {:invoices, 7} |> Kantoku.Store.key() |> Kantoku.Store.id()
      {:invoices, 7}
  """
  @spec key(id) :: key
  def key(id), do: :erlang.term_to_binary(id, [:deterministic, minor_version: 2])

  @doc "The id that a key stands for."
  @spec id(key) :: id
  def id(key), do: :erlang.binary_to_term(key)

  @doc "As `c:put/5`, by id."
  @spec put(t, id, version, binary, reference | nil) :: :ok | :pending | {:error, term}
  def put({module, ref}, id, version, bytes, reply_ref), do: module.put(ref, key(id), version, bytes, reply_ref)

  @doc """
  Puts bytes in place of whatever is there, as what is written last is right, and waits until they are kept, for `patience` ms at most:
  for what has no revisions of its own. `{:error, :timeout}` if the store has not answered by then.
  """
  @spec overwrite(t, id, binary, patience :: pos_integer) :: :ok | {:error, term}
  def overwrite(store, id, bytes, patience) do
    {writer, monitor} = spawn_monitor(fn -> exit({:written, write_over(store, id, bytes, patience)}) end)

    receive do
      {:DOWN, ^monitor, :process, _writer, {:written, result}} -> result
      {:DOWN, ^monitor, :process, _writer, reason} -> {:error, reason}
    after
      patience -> give_up(writer, monitor)
    end
  end

  # By a process of its own, so that an answer that comes too late finds nobody.
  defp give_up(writer, monitor) do
    Process.demonitor(monitor, [:flush])
    Process.exit(writer, :kill)
    {:error, :timeout}
  end

  defp write_over(store, id, bytes, patience) do
    with {:ok, version} <- following(store, id) do
      ref = make_ref()

      case put(store, id, version, bytes, ref) do
        :pending -> answer(ref, patience)
        {:error, :stale} -> write_over(store, id, bytes, patience)
        written -> written
      end
    end
  end

  # What is damaged has a version that nobody knows, and would go before any other for ever.
  defp following(store, id) do
    case get(store, id) do
      {:ok, {incarnation, revision}, _bytes} -> {:ok, {incarnation, revision + 1}}
      {:damaged, _text} -> with :ok <- set_aside(store, id), do: {:ok, {1, 1}}
      :none -> {:ok, {1, 1}}
      {:error, _reason} = error -> error
    end
  end

  # Who asked may have been killed: so it ends by itself as well.
  defp answer(ref, patience) do
    receive do
      {:kantoku_store, ^ref, result} -> result
    after
      patience -> {:error, :timeout}
    end
  end

  @doc "As `c:get/2`, by id."
  @spec get(t, id) :: {:ok, version, binary} | :none | {:damaged, binary} | {:error, term}
  def get({module, ref}, id), do: module.get(ref, key(id))

  @doc """
  Removes the snapshot of an agent, so that it starts afresh next time. Meant for agents that are stopped: a running one writes its
  next change again.
  """
  @spec delete(t, id) :: :ok | {:error, term}
  def delete({module, ref} = store, id) do
    case get(store, id) do
      {:ok, version, _bytes} -> module.delete(ref, key(id), version)
      :none -> :ok
      {:damaged, _text} -> module.set_aside(ref, key(id))
      {:error, _reason} = error -> error
    end
  end

  @doc "As `c:set_aside/2`, by id."
  @spec set_aside(t, id) :: :ok | {:error, term}
  def set_aside({module, ref}, id), do: module.set_aside(ref, key(id))

  @doc "The ids of all agents with a snapshot, lazily. One that is written or removed meanwhile may be in or not."
  @spec ids(t) :: Enumerable.t()
  def ids({module, ref}) do
    Stream.resource(fn -> nil end, &next_keys(module, ref, &1), fn _cursor -> :ok end) |> Stream.map(&id/1)
  end

  defp next_keys(_module, _ref, :done), do: {:halt, :done}
  defp next_keys(module, ref, cursor), do: module.keys(ref, cursor, 500)

  @doc "Returns when all that was put before is kept."
  @spec flush(t) :: :ok | {:error, term}
  def flush({module, ref}), do: module.flush(ref)

  @doc "Flushes and ends the store."
  @spec close(t) :: :ok | {:error, term}
  def close({module, ref}), do: module.close(ref)

  @doc "Whether what it keeps outlives the VM."
  @spec durable?(t) :: boolean
  def durable?({module, _ref}), do: module.durable?()

  @doc "What is wrong with a store: nothing, of one that does not say (`c:standing/1`)."
  @spec standing(t) :: standing
  def standing({module, ref}) do
    if function_exported?(module, :standing, 1),
      do: module.standing(ref),
      else: %{failing_for: nil, set_aside_ago: nil}
  end

  @doc """
  A process that closes the store when it is shut down. As the first child of a supervisor it ends last, when all who
  write have written. A store that cannot be closed is told of in the log and as `[:kantoku, :store, :not_closed]`, of that instance.
  """
  @spec child_spec(t, instance :: atom) :: Supervisor.child_spec()
  def child_spec(store, instance \\ nil) do
    %{id: __MODULE__, start: {Kantoku.Store.Closer, :start_link, [{instance, store}]}, shutdown: 30_000}
  end
end
