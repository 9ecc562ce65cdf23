defmodule Kantoku.Engine do
  @moduledoc """
  The facts of an instance, and the two engines that can keep them.

  `Kantoku.Native` keeps them in the Rust core; `Kantoku.Engine.Elixir` in ETS and plain processes. The second is the
  reference that property tests compare the first with, the fallback where no library loads, and the path that
  people come from. Both answer every call here alike.

  A call goes to the native engine first. An instance that it does not know answers `:unknown` there, and only then is
  the other one asked: so the choice costs the native path one comparison with an atom, and nothing is looked up to
  make it.

  This module is the boundary: above it nobody says which engine serves.
  """

  import Kantoku.Engine.Dispatch
  require Logger

  @typedoc "An instance's name: the atom it was opened under."
  @type instance :: atom

  @typedoc "Compared as `===/2` does."
  @type key :: term

  @type value :: term

  @typedoc "Which engine keeps an instance."
  @type kind :: :native | :elixir

  @typedoc """
  Counts registrations: grows with each, is never used twice in an instance. Clean-up compares it, so that what is
  late never removes a successor.
  """
  @type incarnation :: pos_integer

  @typedoc """
  Something an entry can be found by: `{dimension, value}`, as `{:tag, "gpu"}` or `{{:metadata, :tenant}, 7}`. The value (and
  a metadata key) is an atom, an integer of up to 60 bits, or a binary of up to 255 bytes.
  """
  @type facet :: {atom | {:metadata, atom | integer | binary}, atom | integer | binary}

  @typedoc """
  A compiled query: entries that have every facet of `all`, at least one of each list in `any`, and none of `none`.
  Dead owners never show. `order` `:none` is any order; `:load` is ascending by load, exact for the loads as read
  during the call; `:started_at` is ascending by incarnation; `:random` is uniform. `limit` is a count or `:infinity`.
  """
  @type query :: {
          all :: [facet],
          any :: [[facet]],
          none :: [facet],
          order :: :none | :load | :started_at | :random,
          limit :: non_neg_integer | :infinity
        }

  @typedoc "What an entry is: `attributes` is the map last given to `describe/6`."
  @type record :: {key, pid, value, attributes :: map, load :: non_neg_integer, incarnation}

  @typedoc "Names a described entry's load cell. An integer; stale handles are refused, never confused."
  @type handle :: non_neg_integer

  # Life ------------------------------------------------------------------------------------------------------------

  @doc """
  Opens an instance. The calling process becomes its holder: when that process dies the instance is closed. A name whose
  holder is dead is taken over. `servers` is how many processes will be seated (`seat/3`).
  """
  @callback open(instance, :unique | :duplicate, servers :: pos_integer, listeners :: [atom]) ::
              :ok | {:error, {:already_started, holder :: pid}}

  @doc "Closes an instance and frees all it holds. `:ok` as well if there is none."
  @callback close(instance) :: :ok

  @doc "Seats the process that owners of partition `index` (from 0) are linked to."
  @callback seat(instance, index :: non_neg_integer, pid) :: :ok | :unknown

  # Names -----------------------------------------------------------------------------------------------------------

  @doc """
  Registers the calling process.

    * `{:ok, server}` - done; the caller has another entry here, so it is linked to `server` already;
    * `{:link, server}` - done, and this is the caller's first entry: link it to `server`;
    * `{:notify, server, listeners}` - done; link, and tell the listeners;
    * `{:error, {:already_registered, pid}}` - only with unique keys, and `pid` was alive. A dead holder is taken over;
    * `:limit` - there is no room for another name (`Kantoku.Memory`).
  """
  @callback register(instance, key, value) ::
              {:ok, pid}
              | {:link, pid}
              | {:notify, pid, [atom]}
              | {:error, {:already_registered, pid}}
              | :limit
              | :unknown

  @doc """
  As `register/3`, but if `from` holds the unique key at that moment the caller takes it over in one step. The other entries of
  `from` stay; `from` itself is not told. `{:error, {:already_registered, pid}}` if someone else holds it by then.
  """
  @callback take_over(instance, key, value, from :: pid) ::
              {:ok, pid} | {:link, pid} | {:notify, pid, [atom]} | {:error, {:already_registered, pid}} | :unknown

  @doc """
  Registers another, local process under a unique key: for those who start processes and name them. Nobody is linked or told.
  """
  @callback claim(instance, key, pid, value) ::
              {:ok, incarnation} | {:error, {:already_registered, pid} | :noproc} | :unknown

  @doc """
  As `claim/4` and `describe/6` together, in one step: whoever sees the entry sees it described.
  """
  @callback introduce(instance, key, pid, value, attributes :: map, [facet]) ::
              {:ok, incarnation} | {:error, {:already_registered, pid} | :noproc} | :unknown

  @doc "Removes the entry under a unique key if `pid` holds it."
  @callback disclaim(instance, key, pid) :: :ok | :unknown

  @doc """
  Removes all entries of the calling process under `key`.

  `:ok`, `{:unlink, server}` if the caller has no entry left, or `{:notify, server | nil, listeners}` where `server` is
  given when the caller is to unlink.
  """
  @callback unregister(instance, key) :: :ok | {:unlink, pid} | {:notify, pid | nil, [atom]} | :unknown

  @doc "Removes those entries of the calling process under `key` that have one of the incarnations. As `unregister/2`."
  @callback unregister(instance, key, [incarnation]) :: :ok | {:unlink, pid} | {:notify, pid | nil, [atom]} | :unknown

  @doc "The live owner of a unique key."
  @callback whereis(instance, key) :: pid | :undefined | :duplicate | :unknown

  @doc "Live owners and values under a key, in the order of registration."
  @callback lookup(instance, key) :: [{pid, value}] | :unknown

  @doc "The keys that `pid` holds, once for each registration, in the order of registration; `[]` if it is dead."
  @callback keys(instance, pid) :: [key] | :unknown

  @doc "The entries of `pid` under a key, in the order of registration; `[]` if it is dead."
  @callback own(instance, key, pid) :: [{incarnation, value}] | :unknown

  @doc "Replaces the value of the calling process's entry of that incarnation; `false` if it is gone."
  @callback put_value(instance, key, incarnation, value) :: boolean | :unknown

  @doc """
  A slice of all entries with live owners, from `cursor` (start with 0), about `limit` of them. An entry that is there from the
  first slice to the last is in exactly one of them; one that comes or goes meanwhile is in one or none.
  """
  @callback slice(instance, cursor :: term, limit :: pos_integer) ::
              {[{key, pid, value}], next :: term | :done} | :unknown

  @doc "As `slice/3`, but counts."
  @callback count_slice(instance, cursor :: term, limit :: pos_integer) ::
              {non_neg_integer, next :: term | :done} | :unknown

  # What an agent's entry adds --------------------------------------------------------------------------------------

  @doc """
  Gives the entry of `pid` under a unique `key` its attributes and the facets it is found by, in place of all it had.

  One atomic step, which the next read sees. `expected` is the version that the caller read (0: not described yet), so that of
  two concurrent changes none is lost: `{:stale, version}` asks to read again and repeat. `:none` if `pid` does not hold `key`.
  """
  @callback describe(instance, key, pid, expected :: non_neg_integer, attributes :: map, [facet]) ::
              {:ok, version :: pos_integer, handle} | {:stale, version :: non_neg_integer} | :none | :unknown

  @doc "The live entry under a unique key; version 0 and attributes `%{}` if it was never described."
  @callback entry(instance, key) :: {record, version :: non_neg_integer, handle | nil} | :none | :unknown

  @doc "Sets the load of a described entry without a lock. `false` if the handle is stale."
  @callback set_load(instance, handle, non_neg_integer) :: boolean | :unknown

  @doc "Adds to the load of a described entry without a lock; the new load, never below 0."
  @callback add_load(instance, handle, integer) :: {:ok, non_neg_integer} | false | :unknown

  @doc "The described entries that a query names."
  @callback find(instance, query) :: [record] | :unknown

  @doc "As `find/2`, but only `{key, pid}`."
  @callback find_pids(instance, query) :: [{key, pid}] | :unknown

  @doc "How many described entries with live owners a query names; its order and limit are ignored."
  @callback count(instance, query) :: non_neg_integer | :unknown

  @doc """
  From now on tells `pid` of every change to what the query names (order and limit ignored), and answers what it names now, without
  gap or double between the two. Messages, in order for each watch:

    * `{:kantoku_watch, ref, :join, record}`
    * `{:kantoku_watch, ref, :change, record}` - attributes changed and it still matches; load alone is no change;
    * `{:kantoku_watch, ref, :leave, {key, pid, incarnation}}`

  Ends with `unwatch/2`, with the death of `pid`, or with the instance.
  """
  @callback watch(instance, query, pid) :: {:ok, ref :: reference, [record]} | :unknown

  @doc """
  Ends a watch. Messages that were sent before may still be in the mailbox; with `:pending` some may still be on their way to the
  calling process, whose watch it is, and `{:kantoku_watch, ref, :end}` comes after the last of them.
  """
  @callback unwatch(instance, reference) :: :ok | :pending | :unknown

  # Dispatch --------------------------------------------------------------------------------------------------------

  @doc """
  Opens an instance in the engine asked for: `c:open/4`. Without a native library, `:native` opens it in the other one
  and says so in the log, once for each VM.
  """
  @spec open(instance, :unique | :duplicate, pos_integer, [atom], kind) ::
          :ok | {:error, {:already_started, holder :: pid}}
  def open(instance, keys, servers, listeners, engine \\ :native)

  def open(instance, keys, servers, listeners, :native) do
    case Kantoku.Engine.Elixir.holder(instance) do
      nil -> open_native(instance, keys, servers, listeners)
      holder -> {:error, {:already_started, holder}}
    end
  end

  # Opened and closed natively first: that refuses a name which a live process holds there, and clears that of a dead.
  def open(instance, keys, servers, listeners, :elixir) do
    case Kantoku.Native.open(instance, keys, servers, listeners) do
      {:error, {:already_started, _holder}} = taken ->
        taken

      _free_or_unavailable ->
        Kantoku.Native.close(instance)
        Kantoku.Engine.Elixir.open(instance, keys, servers, listeners)
    end
  end

  defp open_native(instance, keys, servers, listeners) do
    case Kantoku.Native.open(instance, keys, servers, listeners) do
      {:error, :unavailable} ->
        fell_back(instance)
        Kantoku.Engine.Elixir.open(instance, keys, servers, listeners)

      answer ->
        answer
    end
  end

  defp fell_back(instance) do
    {:error, sentence} = Kantoku.Native.status()
    warn_once(sentence)
    Kantoku.Telemetry.emit(instance, [:engine, :fell_back], %{}, %{reason: sentence})
  end

  defp warn_once(sentence) do
    if :persistent_term.get({__MODULE__, :warned}, false) == false do
      :persistent_term.put({__MODULE__, :warned}, true)
      Logger.warning("Kantoku runs on its Elixir engine: " <> sentence)
    end
  end

  @doc "Closes an instance wherever it is kept: `c:close/1`."
  @spec close(instance) :: :ok
  def close(instance) do
    _ = Kantoku.Native.close(instance)
    Kantoku.Engine.Elixir.close(instance)
  end

  # `**` is a loop where it is not said at compile time, and each change of a load asks for this.
  @max_load 2 ** 37 - 1

  @doc "The largest load that is kept; what would be more is held there."
  @spec max_load() :: pos_integer
  def max_load, do: @max_load

  @doc "Which engine keeps an instance; `:unknown` if none does."
  @spec kind(instance) :: kind | :unknown
  def kind(instance) do
    cond do
      Kantoku.Native.count_slice(instance, 0, 1) != :unknown -> :native
      Kantoku.Engine.Elixir.holder(instance) -> :elixir
      true -> :unknown
    end
  end

  @spec seat(instance, non_neg_integer, pid) :: :ok | :unknown
  dispatch(seat(instance, index, pid))

  @typedoc "What a registration answers: see `c:register/3`."
  @type registered ::
          {:ok, pid} | {:link, pid} | {:notify, pid, [atom]} | {:error, {:already_registered, pid}} | :unknown

  @typedoc "What an unregistration answers: see `c:unregister/2`."
  @type unregistered :: :ok | {:unlink, pid} | {:notify, pid | nil, [atom]} | :unknown

  @spec register(instance, key, value) :: registered
  dispatch(register(instance, key, value))

  @spec take_over(instance, key, value, pid) :: registered
  dispatch(take_over(instance, key, value, from))

  @spec claim(instance, key, pid, value) ::
          {:ok, incarnation} | {:error, {:already_registered, pid} | :noproc} | :unknown
  dispatch(claim(instance, key, pid, value))

  @spec introduce(instance, key, pid, value, map, [facet]) ::
          {:ok, incarnation} | {:error, {:already_registered, pid} | :noproc} | :unknown
  dispatch(introduce(instance, key, pid, value, attributes, facets))

  @spec disclaim(instance, key, pid) :: :ok | :unknown
  dispatch(disclaim(instance, key, pid))

  @spec unregister(instance, key) :: unregistered
  dispatch(unregister(instance, key))

  @spec unregister(instance, key, [incarnation]) :: unregistered
  dispatch(unregister(instance, key, incarnations))

  @spec whereis(instance, key) :: pid | :undefined | :duplicate | :unknown
  dispatch(whereis(instance, key))

  @spec lookup(instance, key) :: [{pid, value}] | :unknown
  dispatch(lookup(instance, key))

  @spec keys(instance, pid) :: [key] | :unknown
  dispatch(keys(instance, pid))

  @spec own(instance, key, pid) :: [{incarnation, value}] | :unknown
  dispatch(own(instance, key, pid))

  @spec put_value(instance, key, incarnation, value) :: boolean | :unknown
  dispatch(put_value(instance, key, incarnation, value))

  @spec slice(instance, term, pos_integer) :: {[{key, pid, value}], term | :done} | :unknown
  dispatch(slice(instance, cursor, limit))

  @spec count_slice(instance, term, pos_integer) :: {non_neg_integer, term | :done} | :unknown
  dispatch(count_slice(instance, cursor, limit))

  @spec describe(instance, key, pid, non_neg_integer, map, [facet]) ::
          {:ok, pos_integer, handle} | {:stale, non_neg_integer} | :none | :unknown
  dispatch(describe(instance, key, pid, expected, attributes, facets))

  @spec entry(instance, key) :: {record, non_neg_integer, handle | nil} | :none | :unknown
  dispatch(entry(instance, key))

  @spec set_load(instance, handle, non_neg_integer) :: boolean | :unknown
  dispatch(set_load(instance, handle, load))

  @spec add_load(instance, handle, integer) :: {:ok, non_neg_integer} | false | :unknown
  dispatch(add_load(instance, handle, change))

  @spec find(instance, query) :: [record] | :unknown
  dispatch(find(instance, query))

  @spec find_pids(instance, query) :: [{key, pid}] | :unknown
  dispatch(find_pids(instance, query))

  @spec count(instance, query) :: non_neg_integer | :unknown
  dispatch(count(instance, query))

  @spec watch(instance, query, pid) :: {:ok, reference, [record]} | :unknown
  dispatch(watch(instance, query, pid))

  @spec unwatch(instance, reference) :: :ok | :pending | :unknown
  dispatch(unwatch(instance, ref))
end
