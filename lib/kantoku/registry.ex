defmodule Kantoku.Registry do
  @moduledoc """
  Names for processes, kept in native memory: a drop-in for Elixir's `Registry` that never shows the dead.

  Every function of Elixir 1.18's `Registry` is here with the same arguments, returns and errors; replacing the module's
  name in a program is all there is to do:

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: MyApp.Rooms)
      iex> name = {:via, Kantoku.Registry, {MyApp.Rooms, "lobby"}}
      iex> {:ok, room} = Agent.start_link(fn -> [] end, name: name)
      iex> Kantoku.Registry.whereis_name({MyApp.Rooms, "lobby"}) == room
      true
      iex> Agent.update(name, &["ada" | &1])
      :ok

  ## What differs

    * No read shows a process that was dead before the read began: not `lookup/2`, and neither `count/1`, `keys/2` or
      `select/2`. What `Registry` cleans up when it gets to it, is here left out by the read itself.
    * The facts are in the instance, and a partition that crashes takes the owners linked to it with it, but no table:
      the other partitions and their owners go on.
    * `count/1` looks at each owner instead of reading a size.
    * Who registers under a name that is taken may take it over: see `:resolver` of `start_link/1`.
    * Listeners that are not running are passed over.

  ## Keys

  Two keys are one exactly when `===/2` says so. With `:unique` keys a key has one live owner at most; with `:duplicate`
  ones any number, and a process may register under a key more than once.

  ## Owners and partitions

  A process that registers is linked to the partition it belongs to, so that it does not outlive the registry. The names
  of a process are gone the moment it is dead; a name whose owner is dead is free.

  ## Agents

  Under unique keys a registration can be described - type, tags, capabilities, metadata, status, region, load - and then
  found by any conjunction of these: `describe/3`, `find/2`, `count/2`, `watch/2`. `Kantoku.Entry` says what is known of each.
  """

  alias Kantoku.{Engine, Entry, Native}
  alias Kantoku.Registry.{Config, Dispatcher, Entries, Load, MatchSpec, Names, Partition}

  @typedoc "The name that a registry was started under."
  @type registry :: atom

  @typedoc "What a registry allows: one owner for a key, or any number."
  @type keys :: :unique | :duplicate

  @typedoc "Anything; compared by `===/2`."
  @type key :: term

  @typedoc "What is kept with a registration."
  @type value :: term

  @type meta_key :: atom | tuple
  @type meta_value :: term

  @typedoc "As in a match specification: what a value, or an entry, must look like."
  @type match_pattern :: atom | term

  @typedoc "A condition of a match specification, as `{:>, :\"$1\", 1}`."
  @type guard :: atom | tuple
  @type guards :: [guard]

  @typedoc "What a match specification makes of an entry."
  @type body :: [term]

  @typedoc "A match specification over `{key, pid, value}`."
  @type spec :: [{match_pattern, guards, body}]

  @typedoc """
  Who keeps a unique name that a second process asks for: the first (`:keep`), the second (`:replace`), or whom a function
  says, given the key, `{pid, value}` of the first and of the second.
  """
  @type resolver ::
          :keep | :replace | (key, old :: {pid, value}, new :: {pid, value} -> :keep | :replace)

  @type start_option ::
          {:keys, keys}
          | {:name, registry}
          | {:partitions, pos_integer}
          | {:listeners, [atom]}
          | {:meta, [{meta_key, meta_value}]}
          | {:engine, Engine.kind()}
          | {:resolver, resolver}

  @typedoc "What listeners are sent: see `:listeners` of `start_link/1`."
  @type listener_message ::
          {:register, registry, key, owner :: pid, value} | {:unregister, registry, key, owner :: pid}

  # Entries are fetched from the engine in slices of this many.
  @slice 1000

  # Start -----------------------------------------------------------------------------------------------------------

  @doc """
  Starts a registry: a supervisor of that name, with a process for each partition.

      iex> {:ok, pid} = Kantoku.Registry.start_link(keys: :duplicate, name: MyApp.Topics, partitions: 2)
      iex> Process.whereis(MyApp.Topics) == pid
      true

  In a supervision tree: `{Kantoku.Registry, keys: :unique, name: MyApp.Rooms}`.

  ## Options

    * `:keys` - `:unique` or `:duplicate`; required.
    * `:name` - an atom; required.
    * `:partitions` - among how many processes owners are spread; 1 by default.
    * `:listeners` - names of processes that are told of each registration and unregistration, in the messages of
      `t:listener_message/0`. The death of an owner is not told: monitor it.
    * `:meta` - a keyword list of metadata, see `meta/2`.
    * `:engine` - `:native` (default; where no native library loads the other serves) or `:elixir`.
    * `:resolver` - for unique keys, what happens when a second live process registers under a name (`t:resolver/0`):
      `:keep`, the default, answers `{:error, {:already_registered, pid}}`, as OTP does. With `:replace` the new
      process has the name in one step, without a moment in which nobody has it, and the old one is sent the exit signal
      `{:shutdown, {:name_taken_over, key}}`. A function decides from case to case; it runs in the process that
      registers. A `:via` name given to a start function never gets that far: OTP itself looks first whether the name
      is taken.

  Bad options raise `ArgumentError`.
  """
  @spec start_link([start_option]) :: {:ok, pid} | {:error, term}
  def start_link(options), do: options |> Config.new!() |> Kantoku.Registry.Supervisor.start_link()

  @doc false
  @deprecated "Use Kantoku.Registry.start_link/1 instead"
  @spec start_link(keys, registry, keyword) :: {:ok, pid} | {:error, term}
  def start_link(keys, name, options \\ []) when keys in [:unique, :duplicate] and is_atom(name) do
    start_link([keys: keys, name: name] ++ options)
  end

  @doc """
  The child specification of a registry, whose id is its name.

      iex> Kantoku.Registry.child_spec(keys: :unique, name: MyApp.Rooms).id
      MyApp.Rooms
  """
  @spec child_spec([start_option]) :: Supervisor.child_spec()
  def child_spec(options) do
    %{
      id: Keyword.get(options, :name, __MODULE__),
      start: {__MODULE__, :start_link, [options]},
      type: :supervisor
    }
  end

  # :via ------------------------------------------------------------------------------------------------------------

  @doc "The live owner of a name, as `:via` asks for it: `{registry, key}` or `{registry, key, value}`."
  @spec whereis_name({registry, key} | {registry, key, value}) :: pid | :undefined
  def whereis_name({registry, key}), do: whereis(registry, key)
  def whereis_name({registry, key, _value}), do: whereis(registry, key)

  # The native engine is asked at once: a look-up there is so short that the way through `Engine` would show.
  defp whereis(registry, key) do
    case Native.whereis(registry, key) do
      pid when is_pid(pid) -> pid
      :undefined -> :undefined
      _unknown_or_duplicate -> whereis_elsewhere(registry, key)
    end
  end

  defp whereis_elsewhere(registry, key) do
    case Engine.whereis(registry, key) do
      :duplicate -> raise ArgumentError, ":via is not supported for duplicate registries"
      :unknown -> Config.unknown_registry!(registry)
      found -> found
    end
  end

  # What the library answers is not to be seen in its stubs.
  @dialyzer {:no_match, register_name: 2}
  @doc "Registers the calling process under a name, as `:via` asks for it."
  @spec register_name({registry, key} | {registry, key, value}, pid) :: :yes | :no
  def register_name({registry, key}, pid), do: register_name({registry, key, nil}, pid)

  def register_name({registry, key, value}, pid) when pid == self() do
    case register(registry, key, value) do
      {:ok, _server} -> :yes
      {:error, {:already_registered, _holder}} -> :no
      {:error, error} -> raise error
    end
  end

  @doc "Sends to the owner of a name; an error of reason `:badarg` if there is none."
  @spec send({registry, key} | {registry, key, value}, message) :: message when message: term
  def send({registry, key, _value}, message), do: __MODULE__.send({registry, key}, message)

  def send({registry, key}, message) do
    case whereis(registry, key) do
      :undefined -> :erlang.error(:badarg, [{registry, key}, message])
      pid -> Kernel.send(pid, message)
    end
  end

  @doc "Gives up a name of the calling process, as `:via` asks for it."
  @spec unregister_name({registry, key} | {registry, key, value}) :: :ok
  def unregister_name({registry, key}), do: unregister(registry, key)
  def unregister_name({registry, key, _value}), do: unregister(registry, key)

  # Registrations ---------------------------------------------------------------------------------------------------

  @doc """
  Registers the calling process under `key`, with a value, and links it to its partition, which is returned.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Register)
      iex> {:ok, _partition} = Kantoku.Registry.register(Doc.Register, "lobby", 1)
      iex> Kantoku.Registry.register(Doc.Register, "lobby", 2)
      {:error, {:already_registered, self()}}

  With duplicate keys it may be repeated. What a taken name means can be chosen: `:resolver` of
  `start_link/1`. In the registry of an instance whose `memory: [registry: bytes]` is used up it answers `{:error, %Kantoku.Error{reason: :limit}}`,
  and so does a start with `:via` (`Kantoku.Memory`).
  """
  @spec register(registry, key, value) :: {:ok, pid} | {:error, {:already_registered, pid} | Kantoku.Error.t()}
  def register(registry, key, value) when is_atom(registry), do: Names.register(registry, key, value)

  @doc """
  Gives up all registrations of the calling process under `key`; its link to the partition goes with its last one.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.Unregister)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Unregister, :a, 1)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Unregister, :a, 2)
      iex> Kantoku.Registry.unregister(Doc.Unregister, :a)
      :ok
      iex> Kantoku.Registry.keys(Doc.Unregister, self())
      []
  """
  @spec unregister(registry, key) :: :ok
  def unregister(registry, key) when is_atom(registry) do
    registry |> Engine.unregister(key) |> Names.unregistered(registry, key, true)
  end

  @doc """
  Gives up those registrations of the calling process under `key` whose value matches.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.UnregisterMatch)
      iex> for n <- 1..3, do: {:ok, _} = Kantoku.Registry.register(Doc.UnregisterMatch, :a, n)
      iex> Kantoku.Registry.unregister_match(Doc.UnregisterMatch, :a, :"$1", [{:<, :"$1", 3}])
      :ok
      iex> Kantoku.Registry.values(Doc.UnregisterMatch, :a, self())
      [3]

  Listeners are told when it was all of them.
  """
  @spec unregister_match(registry, key, match_pattern, guards) :: :ok
  def unregister_match(registry, key, pattern, guards \\ []) when is_list(guards) do
    compiled = MatchSpec.values(pattern, guards)
    own = known!(Engine.own(registry, key, self()), registry)

    matching = for {incarnation, value} <- own, MatchSpec.run([{key, {self(), value}}], compiled) != [], do: incarnation

    if matching == [] and own != [] do
      :ok
    else
      all? = length(matching) == length(own)
      registry |> Engine.unregister(key, matching) |> Names.unregistered(registry, key, all?)
    end
  end

  @doc """
  Replaces the value of the calling process under a unique `key` with what `fun` makes of it.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Update)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Update, :visits, 1)
      iex> Kantoku.Registry.update_value(Doc.Update, :visits, &(&1 + 1))
      {2, 1}

  `:error` if the calling process does not hold the key.
  """
  @spec update_value(registry, key, (value -> value)) :: {new :: value, old :: value} | :error
  def update_value(registry, key, fun) when is_atom(registry) and is_function(fun, 1) do
    require_unique!(registry, "update_value/3")

    with [{incarnation, old}] <- known!(Engine.own(registry, key, self()), registry),
         new = fun.(old),
         true <- Engine.put_value(registry, key, incarnation, new) do
      {new, old}
    else
      _not_held -> :error
    end
  end

  # Reads -----------------------------------------------------------------------------------------------------------

  @doc """
  The live owners under `key` and their values, in the order in which they registered.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.Lookup)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Lookup, :a, 1)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Lookup, :a, 2)
      iex> Kantoku.Registry.lookup(Doc.Lookup, :a)
      [{self(), 1}, {self(), 2}]
      iex> Kantoku.Registry.lookup(Doc.Lookup, :b)
      []
  """
  @spec lookup(registry, key) :: [{pid, value}]
  def lookup(registry, key) when is_atom(registry), do: known!(Engine.lookup(registry, key), registry)

  @doc """
  The keys of a process, once for each registration.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.Keys)
      iex> for key <- [:a, :b, :a], do: {:ok, _} = Kantoku.Registry.register(Doc.Keys, key, nil)
      iex> Kantoku.Registry.keys(Doc.Keys, self())
      [:a, :b, :a]
  """
  @spec keys(registry, pid) :: [key]
  def keys(registry, pid) when is_atom(registry) and is_pid(pid), do: known!(Engine.keys(registry, pid), registry)

  @doc """
  The values of a process under `key`.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Values)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Values, :a, 1)
      iex> Kantoku.Registry.values(Doc.Values, :a, self())
      [1]
  """
  @spec values(registry, key, pid) :: [value]
  def values(registry, key, pid) when is_atom(registry) do
    for {_incarnation, value} <- known!(Engine.own(registry, key, pid), registry), do: value
  end

  @doc """
  The entries under `key` whose value matches a pattern and guards, as match specifications have them.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.Match)
      iex> for n <- 1..3, do: {:ok, _} = Kantoku.Registry.register(Doc.Match, :a, {n, :on})
      iex> Kantoku.Registry.match(Doc.Match, :a, {:"$1", :on}, [{:>, :"$1", 1}]) == [{self(), {2, :on}}, {self(), {3, :on}}]
      true

  A bad guard raises `ArgumentError`.
  """
  @spec match(registry, key, match_pattern, guards) :: [{pid, value}]
  def match(registry, key, pattern, guards \\ []) when is_atom(registry) and is_list(guards) do
    for {_key, entry} <- matching(registry, key, pattern, guards), do: entry
  end

  @doc """
  How many entries under `key` match; see `match/4`.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.CountMatch)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.CountMatch, :a, %{on: true, n: 1})
      iex> Kantoku.Registry.count_match(Doc.CountMatch, :a, %{on: true})
      1
  """
  @spec count_match(registry, key, match_pattern, guards) :: non_neg_integer
  def count_match(registry, key, pattern, guards \\ []) when is_atom(registry) and is_list(guards) do
    registry |> matching(key, pattern, guards) |> length()
  end

  defp matching(registry, key, pattern, guards) do
    compiled = MatchSpec.values(pattern, guards)
    for(entry <- lookup(registry, key), do: {key, entry}) |> MatchSpec.run(compiled)
  end

  @doc """
  What a match specification over `{key, pid, value}` makes of all entries.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Select)
      iex> for key <- [:a, :b], do: {:ok, _} = Kantoku.Registry.register(Doc.Select, key, :on)
      iex> Kantoku.Registry.select(Doc.Select, [{{:"$1", :_, :on}, [], [:"$1"]}]) |> Enum.sort()
      [:a, :b]

  Looks at every entry, unless the specification is for one key. A bad one raises `ArgumentError`.
  """
  @spec select(registry, spec) :: [term]
  def select(registry, spec) when is_atom(registry) and is_list(spec) do
    registry |> selected(spec, "#{inspect(__MODULE__)}.select/2", &[&1 | &2], []) |> Enum.reverse() |> Enum.concat()
  end

  @doc """
  For how many entries a match specification answers `true`; see `select/2`.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.CountSelect)
      iex> for key <- [:a, :b], do: {:ok, _} = Kantoku.Registry.register(Doc.CountSelect, key, :on)
      iex> Kantoku.Registry.count_select(Doc.CountSelect, [{{:_, :_, :on}, [], [true]}])
      2
  """
  @spec count_select(registry, spec) :: non_neg_integer
  def count_select(registry, spec) when is_atom(registry) and is_list(spec) do
    count = fn results, sum -> sum + Enum.count(results, &(&1 == true)) end
    selected(registry, spec, "#{inspect(__MODULE__)}.count_select/2", count, 0)
  end

  defp selected(registry, spec, caller, fun, acc) do
    compiled = MatchSpec.entries(spec, caller)

    case MatchSpec.single_key(spec) do
      {:ok, key} -> for(entry <- lookup(registry, key), do: {key, entry}) |> MatchSpec.run(compiled) |> fun.(acc)
      :error -> sliced(registry, 0, compiled, fun, acc)
    end
  end

  defp sliced(_registry, :done, _compiled, _fun, acc), do: acc

  defp sliced(registry, cursor, compiled, fun, acc) do
    {entries, next} = known!(Engine.slice(registry, cursor, @slice), registry)
    objects = for {key, pid, value} <- entries, do: {key, {pid, value}}
    sliced(registry, next, compiled, fun, objects |> MatchSpec.run(compiled) |> fun.(acc))
  end

  @doc """
  How many registrations there are.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Count)
      iex> for key <- [:a, :b], do: {:ok, _} = Kantoku.Registry.register(Doc.Count, key, nil)
      iex> Kantoku.Registry.count(Doc.Count)
      2

  Of live owners; so it takes a moment for each entry.
  """
  @spec count(registry) :: non_neg_integer
  def count(registry) when is_atom(registry), do: count_from(registry, 0, 0)

  defp count_from(_registry, :done, sum), do: sum

  defp count_from(registry, cursor, sum) do
    {count, next} = known!(Engine.count_slice(registry, cursor, @slice), registry)
    count_from(registry, next, sum + count)
  end

  @doc """
  Calls back with the entries under `key`, once for each partition that has any: a function of one argument, or
  `{module, function, args}` to which the entries are given first.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :duplicate, name: Doc.Dispatch)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Dispatch, :news, nil)
      iex> Kantoku.Registry.dispatch(Doc.Dispatch, :news, fn entries ->
      ...>   for {pid, _value} <- entries, do: send(pid, :extra)
      ...> end)
      :ok
      iex> receive do: (message -> message)
      :extra

  With `parallel: true` and more than one partition each call back runs in a task of its own.
  """
  @spec dispatch(registry, key, ([{pid, value}] -> term) | {module, atom, [term]}, keyword) :: :ok
  def dispatch(registry, key, callback, opts \\ [])
      when is_atom(registry) and (is_function(callback, 1) or tuple_size(callback) == 3) do
    config = Config.fetch!(registry)
    partitions = if config.keys == :unique, do: 1, else: config.partitions
    Dispatcher.dispatch(lookup(registry, key), callback, partitions, Keyword.get(opts, :parallel, false))
  end

  # Described entries -----------------------------------------------------------------------------------------------

  @doc """
  Describes the entry under a unique `key`, or changes its description; from any process.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Describe)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Describe, "ada", nil)
      iex> Kantoku.Registry.describe(Doc.Describe, "ada", type: MyApp.Writer, tags: ["gpu"])
      :ok
      iex> Kantoku.Registry.describe(Doc.Describe, "ada", status: :busy)
      :ok
      iex> {:ok, entry} = Kantoku.Registry.entry(Doc.Describe, "ada")
      iex> {entry.type, entry.tags, entry.status}
      {MyApp.Writer, ["gpu"], :busy}

  `changes` are those fields of `Kantoku.Entry` that change: `:type`, `:tags`, `:capabilities`, `:metadata`, `:status`,
  `:region`, `:node`; the others stay. It is one step, which the next read sees. To make a new value of an old one, give a
  function from entry to changes: of two that run at once neither is lost, as the later runs again with what the
  earlier left (so it should have no other effect).

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.DescribeFun)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.DescribeFun, "ada", nil)
      iex> Kantoku.Registry.describe(Doc.DescribeFun, "ada", fn entry -> [tags: ["gpu" | entry.tags]] end)
      :ok

  `:error` if nobody holds the key.
  """
  @spec describe(registry, key, keyword | map | (Entry.t() -> keyword | map)) :: :ok | :error
  def describe(registry, key, changes) when is_atom(registry), do: Entries.describe(registry, key, changes)

  @doc """
  The entry of the live owner of a unique `key`, described or not; `:error` if nobody holds it.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Entry)
      iex> Kantoku.Registry.entry(Doc.Entry, "ada")
      :error
  """
  @spec entry(registry, key) :: {:ok, Entry.t()} | :error
  def entry(registry, key) when is_atom(registry), do: Entries.fetch(registry, key)

  @doc """
  A handle on the load of the entry under a unique `key`, for those who change it often; `:error` if nobody holds the key.

  An entry that was not described yet is described, with nothing said.
  """
  @spec load_handle(registry, key) :: {:ok, Load.t()} | :error
  def load_handle(registry, key) when is_atom(registry), do: Entries.load_handle(registry, key)

  @doc """
  Sets the load of an entry, given its key or a handle (`load_handle/2`); without a lock, from any process.

  A load is at most 2^37-1. `:error` if nobody holds the key, or the handle's registration has ended.
  """
  @spec set_load(registry, key | Load.t(), non_neg_integer) :: :ok | :error
  def set_load(registry, key_or_load, load) when is_atom(registry) do
    Entries.set_load(registry, key_or_load, Load.check!(load, 0, "load"))
  end

  @doc """
  Adds to the load of an entry, or takes from it; answers the new load, which stays between 0 and 2^37-1. As `set_load/3`.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Load)
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Load, "ada", nil)
      iex> {:ok, load} = Kantoku.Registry.load_handle(Doc.Load, "ada")
      iex> Kantoku.Registry.add_load(Doc.Load, load, 2)
      {:ok, 2}
      iex> Kantoku.Registry.add_load(Doc.Load, "ada", -1)
      {:ok, 1}
  """
  @spec add_load(registry, key | Load.t(), integer) :: {:ok, non_neg_integer} | :error
  def add_load(registry, key_or_load, change) when is_atom(registry) do
    change = Load.check!(change, -Engine.max_load(), "the change of load")
    Entries.add_load(registry, key_or_load, change)
  end

  @doc """
  The described entries that meet all `criteria`.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Find)
      iex> for name <- ["ada", "bob"] do
      ...>   {:ok, _} = Kantoku.Registry.register(Doc.Find, name, nil)
      ...>   :ok = Kantoku.Registry.describe(Doc.Find, name, tags: ["gpu", name], metadata: %{tenant: 7})
      ...> end
      iex> Kantoku.Registry.find(Doc.Find, tag: "gpu", metadata: %{tenant: 7}, not: [tag: "bob"])
      [{"ada", self()}]

  Criteria:

    * `:type`, `:status`, `:node` - an atom; `:region`, `:tag`, `:capability` - an atom or binary.
    * `:tags`, `:capabilities` - lists of which the entry has all.
    * `:metadata` - a map: the entry's metadata has each of these keys with a value equal by `===/2`.
    * `:any` - as `[tags: ["a", "b"]]`: at least one of the list; with several keys, of each list.
    * `:not` - as `[tags: ["a", "b"], status: :busy]`: none of them.

  How to answer:

    * `:order_by` - `:load`, ascending and exact for the loads as they were read during the call; `:started_at`, the
      order of registration; or `:random`. Any order if left out.
    * `:limit` - a count; `:infinity` by default.
    * `:return` - `:pairs` (`{key, pid}`, the default), `:pids`, `:keys` or `:entries`.

  The index answers, except for metadata values that are not atoms, integers of up to 60 bits or binaries of up to 255 bytes:
  those are compared with each entry that the other criteria name.
  Bad criteria raise `ArgumentError`.
  """
  @spec find(registry, keyword) :: [{key, pid}] | [pid] | [key] | [Entry.t()]
  def find(registry, criteria) when is_atom(registry), do: Entries.find(registry, criteria)

  @doc """
  How many described entries meet all `criteria` (`find/2`), whatever order and limit say.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.CountCriteria)
      iex> Kantoku.Registry.count(Doc.CountCriteria, status: :idle)
      0
  """
  @spec count(registry, keyword) :: non_neg_integer
  def count(registry, criteria) when is_atom(registry), do: Entries.count(registry, criteria)

  @doc """
  Tells the calling process of every change to what `criteria` name, from now on, and answers what they name now.

  Between the answer and the messages there is no gap and nothing twice. The messages are
  `{:kantoku_watch, ref, event, what}`; `Kantoku.Entry.from_watch/1` reads them:

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Watch)
      iex> {:ok, ref, []} = Kantoku.Registry.watch(Doc.Watch, tag: "gpu")
      iex> {:ok, _} = Kantoku.Registry.register(Doc.Watch, "ada", nil)
      iex> :ok = Kantoku.Registry.describe(Doc.Watch, "ada", tags: ["gpu"])
      iex> {:join, ^ref, entry} = receive do: (message -> Kantoku.Entry.from_watch(message))
      iex> entry.key
      "ada"

  Criteria are those of `find/2`, without an order, limit or return, and with metadata that can be indexed. A change of load is
  no change. Ends with `unwatch/2`, with the calling process or with the registry.
  """
  @spec watch(registry, keyword) :: {:ok, reference, [Entry.t()]}
  def watch(registry, criteria) when is_atom(registry), do: Entries.watch(registry, criteria)

  @doc "Ends a watch of the calling process, and takes its messages out of the mailbox."
  @spec unwatch(registry, reference) :: :ok
  def unwatch(registry, ref) when is_atom(registry) and is_reference(ref), do: Entries.unwatch(registry, ref)

  # Locks and metadata ----------------------------------------------------------------------------------------------

  @doc """
  Runs `fun` in the calling process while no other runs one under the same `lock_key`; returns its result.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Lock)
      iex> Kantoku.Registry.lock(Doc.Lock, :till, fn -> :counted end)
      :counted

  Lock keys have nothing to do with registered keys. The lock is free again when the function returns, raises, or its
  process dies; whoever waits longest is next.
  """
  @spec lock(registry, term, (... -> result)) :: result when result: term
  def lock(registry, lock_key, fun) when is_atom(registry) and is_function(fun, 0) do
    registry |> Config.partition!(lock_key) |> Partition.lock(lock_key, fun)
  end

  @doc """
  Reads metadata of the registry.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.Meta, meta: [owner: "ops"])
      iex> Kantoku.Registry.meta(Doc.Meta, :owner)
      {:ok, "ops"}
      iex> Kantoku.Registry.meta(Doc.Meta, :other)
      :error
  """
  @spec meta(registry, meta_key) :: {:ok, meta_value} | :error
  def meta(registry, key) when is_atom(registry) and (is_atom(key) or is_tuple(key)), do: Config.meta(registry, key)

  @doc """
  Writes metadata of the registry, under an atom or a tuple.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.PutMeta)
      iex> Kantoku.Registry.put_meta(Doc.PutMeta, {:quota, 1}, 100)
      :ok
      iex> Kantoku.Registry.meta(Doc.PutMeta, {:quota, 1})
      {:ok, 100}
  """
  @spec put_meta(registry, meta_key, meta_value) :: :ok
  def put_meta(registry, key, value) when is_atom(registry) and (is_atom(key) or is_tuple(key)) do
    Config.put_meta(registry, key, value)
  end

  @doc """
  Removes metadata of the registry.

      iex> {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: Doc.DeleteMeta, meta: [owner: "ops"])
      iex> Kantoku.Registry.delete_meta(Doc.DeleteMeta, :owner)
      :ok
      iex> Kantoku.Registry.meta(Doc.DeleteMeta, :owner)
      :error
  """
  @spec delete_meta(registry, meta_key) :: :ok
  def delete_meta(registry, key) when is_atom(registry) and (is_atom(key) or is_tuple(key)) do
    Config.delete_meta(registry, key)
  end

  defp require_unique!(registry, function) do
    case Config.keys!(registry) do
      :unique -> :ok
      kind -> raise ArgumentError, "#{inspect(__MODULE__)}.#{function} is not supported for #{kind} registries"
    end
  end

  @compile {:inline, known!: 2}
  defp known!(:unknown, registry), do: Config.unknown_registry!(registry)
  defp known!(answer, _registry), do: answer
end
