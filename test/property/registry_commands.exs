Code.require_file("statem.exs", __DIR__)
Code.require_file("registry_model.exs", __DIR__)

defmodule Kantoku.RegistryCommands do
  @moduledoc """
  The commands of `Kantoku.RegistryModel` on a real registry: generated, run in processes that can be killed, compared.

  One after another, owners die with a name that is taken from them, and all there is to ask is asked. At once, owners survive that,
  and only such reads are made as answer for one moment; the rest is asked when all is quiet.
  """

  alias Kantoku.{Entry, Registry, RegistryModel, Statem, TestOwner}

  @keys [:a, :b, {:c, 1.0}, {:c, 1}]
  @tags [:x, "y"]

  # Generating -----------------------------------------------------------------------------------------------------------

  def command([state | _]), do: {:call, __MODULE__, :run, [{:var, :world}, :proper_types.frequency(choices(state))]}

  def precondition(_states, _call), do: true

  def next_state(states, answer, {:call, _, :run, [_world, command]}),
    do: Statem.next(states, answer, command, &RegistryModel.outcomes/2)

  def postcondition(states, call, answer), do: next_state(states, answer, call) != []

  defdelegate outcomes(state, command), to: RegistryModel

  defp choices(%{traps?: true, keys: keys} = state), do: writes(state) ++ moments(keys)
  defp choices(%{keys: :unique} = state), do: writes(state) ++ moments(:unique) ++ reads() ++ queries()
  defp choices(state), do: writes(state) ++ moments(:duplicate) ++ reads()

  defp writes(%{keys: keys}) do
    {slot, key, value} = {slot(), key(), value()}
    match = if keys == :duplicate, do: [{2, {:unregister_match, slot, key, value}}], else: []

    [
      {10, {:register, slot, key, value}},
      {3, {:unregister, slot, key}},
      {2, {:kill, slot}},
      {3, {:revive, slot}} | match
    ]
  end

  defp moments(:duplicate), do: [{3, {:holds?, slot(), key()}}]

  defp moments(:unique) do
    [
      {3, {:whereis, key()}},
      {3, {:lookup, key()}},
      {3, {:update, slot(), key(), 1}},
      {5, {:describe, key(), changes()}},
      {2, {:entry, key()}},
      {2, {:add_load, key(), :proper_types.integer(-1, 3)}}
    ]
  end

  defp reads, do: [{2, {:lookup, key()}}, {2, {:keys, slot()}}, {2, {:values, slot(), key()}}, {1, :count}]

  defp queries do
    [
      {3, {:find, criteria()}},
      {2, {:count, criteria()}},
      {2, {:oldest, criteria(), 2}},
      {2, {:least_loads, criteria(), 2}},
      {2, {:watch, criteria()}}
    ]
  end

  defp slot, do: :proper_types.integer(1, 3)
  defp key, do: :proper_types.elements(@keys)
  defp value, do: :proper_types.integer(0, 2)

  defp changes do
    :proper_types.elements([
      [],
      [tags: [:x]],
      [tags: ["y"]],
      [tags: [:x, "y"]],
      [tags: []],
      [status: :on],
      [status: :off]
    ])
  end

  defp criteria do
    status = for status <- [:on, :off], do: [status: status]
    tags = for tag <- @tags, do: [tag: tag]

    :proper_types.elements(
      [[], [tags: @tags], [any: [tags: @tags]], [not: [tag: :x]], [tag: :x, not: [status: :on]]] ++ status ++ tags
    )
  end

  # The world ------------------------------------------------------------------------------------------------------------

  @doc "A registry on `engine` as a state has it, with its owners."
  def open(state, mode), do: open(state, mode, Process.get(:engine))

  defp open(state, mode, engine) do
    name = :"#{__MODULE__}_#{engine}_#{state.keys}_#{mode}"
    options = if state.keys == :unique, do: [resolver: resolver(state.resolver)], else: [partitions: 2]
    {:ok, registry} = Registry.start_link([keys: state.keys, name: name, engine: engine] ++ options)
    nest = TestOwner.start()
    slots = TestOwner.run(nest, fn -> :ets.new(:slots, [:public]) end)
    world = %{registry: registry, name: name, nest: nest, slots: slots, traps?: state.traps?, keys: state.keys}
    for {slot, owner} <- state.owners, do: place(world, slot, owner)
    world
  end

  defp resolver(:higher), do: fn _key, {_, old}, {_, new} -> if(new > old, do: :replace, else: :keep) end
  defp resolver(choice), do: choice

  def close(world) do
    for [pid] <- :ets.match(world.slots, {:_, :"$1", :_}), is_pid(pid), do: TestOwner.kill(pid)
    TestOwner.kill(world.nest)
    Supervisor.stop(world.registry)
  end

  # Owners are started by the nest, as the process of a branch ends before the other branch does.
  defp place(%{nest: nest, slots: slots, traps?: traps?}, slot, owner) do
    pid = TestOwner.run(nest, fn -> TestOwner.start() end)
    TestOwner.run(pid, fn -> Process.flag(:trap_exit, traps?) end)
    :ets.insert(slots, {slot, pid, owner})
    :ets.insert(slots, {pid, pid, owner})
  end

  defp pid(%{slots: slots}, slot), do: :ets.lookup_element(slots, slot, 2)
  defp who(%{slots: slots}, pid), do: :ets.lookup_element(slots, pid, 3)

  # Running --------------------------------------------------------------------------------------------------------------

  @doc "Runs a command and answers as the model does: with owners, not pids."
  def run(world, command) do
    perform(world, command)
  rescue
    error -> {:raised, Exception.message(error)}
  end

  defp perform(world, {:register, slot, key, value}) do
    holder = unless world.traps? or world.keys == :duplicate, do: Registry.whereis_name({world.name, key})

    case in_owner(world, slot, fn -> Registry.register(world.name, key, value) end) do
      {:ok, _partition} -> displaced(holder, pid(world, slot))
      {:error, {:already_registered, pid}} -> {:taken, who(world, pid)}
      other -> other
    end
  end

  defp perform(world, {:unregister, slot, key}),
    do: in_owner(world, slot, fn -> Registry.unregister(world.name, key) end)

  defp perform(world, {:unregister_match, slot, key, value}),
    do: in_owner(world, slot, fn -> Registry.unregister_match(world.name, key, value) end)

  defp perform(world, {:update, slot, key, add}),
    do: in_owner(world, slot, fn -> Registry.update_value(world.name, key, &(&1 + add)) end)

  defp perform(world, {:lookup, key}),
    do: for({pid, value} <- Registry.lookup(world.name, key), do: {who(world, pid), value})

  defp perform(world, {:whereis, key}) do
    pid = Registry.whereis_name({world.name, key})
    if is_pid(pid), do: who(world, pid), else: pid
  end

  defp perform(world, {:keys, slot}), do: Registry.keys(world.name, pid(world, slot))
  defp perform(world, {:values, slot, key}), do: Registry.values(world.name, key, pid(world, slot))
  defp perform(world, {:holds?, slot, key}), do: Registry.values(world.name, key, pid(world, slot)) != []
  defp perform(world, :count), do: Registry.count(world.name)
  defp perform(world, {:describe, key, changes}), do: Registry.describe(world.name, key, changes)

  defp perform(world, {:entry, key}) do
    with {:ok, %Entry{} = entry} <- Registry.entry(world.name, key),
         do: {who(world, entry.pid), entry.value, Map.take(entry, [:tags, :status]), entry.load}
  end

  defp perform(world, {:add_load, key, change}), do: Registry.add_load(world.name, key, change)
  defp perform(world, {:find, criteria}), do: world |> pairs(Registry.find(world.name, criteria)) |> Enum.frequencies()
  defp perform(world, {:count, criteria}), do: Registry.count(world.name, criteria)

  defp perform(world, {:oldest, criteria, limit}),
    do: pairs(world, Registry.find(world.name, criteria ++ [order_by: :started_at, limit: limit]))

  defp perform(world, {:least_loads, criteria, limit}) do
    for entry <- Registry.find(world.name, criteria ++ [order_by: :load, limit: limit, return: :entries]),
        do: entry.load
  end

  defp perform(world, {:watch, criteria}) do
    TestOwner.run(world.nest, fn ->
      {:ok, ref, entries} = Registry.watch(world.name, criteria)
      for entry <- entries, do: send(self(), {:kantoku_watch, ref, :join, entry})
      Process.put(:watches, Process.get(:watches, []) ++ [ref])
      :ok
    end)
  end

  defp perform(world, {:kill, slot}), do: world |> pid(slot) |> TestOwner.kill()

  defp perform(world, {:revive, slot}) do
    :global.trans({world.slots, self()}, fn ->
      unless Process.alive?(pid(world, slot)),
        do: place(world, slot, {slot, :ets.update_counter(world.slots, :lives, {3, 1}, {:lives, nil, 1})})

      :ok
    end)
  end

  defp in_owner(world, slot, fun) do
    TestOwner.run(pid(world, slot), fun)
  catch
    :exit, :noproc -> :dead
    :exit, :killed -> :died
  end

  # The one whose name was taken over is about to die of it.
  defp displaced(holder, own) when is_pid(holder) and holder != own do
    ref = Process.monitor(holder)
    receive(do: ({:DOWN, ^ref, :process, _pid, _reason} -> :ok))
  end

  defp displaced(_nobody, _own), do: :ok

  defp pairs(world, pairs), do: for({key, pid} <- pairs, do: {key, who(world, pid)})

  # The end --------------------------------------------------------------------------------------------------------------

  @doc "What is answered otherwise than in a state, when all is quiet: `[]` if the world is in that state."
  def unlike(world, state) do
    asked = for question <- questions(state), do: {question, run(world, question), expected(state, question)}
    asked = asked ++ [{:told, settled(world, told_in(state)), told_in(state)}]
    Enum.reject(asked, fn {_question, answer, expected} -> answer === expected end)
  end

  defp expected(state, question) do
    [{answer, ^state}] = RegistryModel.outcomes(state, question)
    answer
  end

  defp questions(%{owners: owners, keys: keys}) do
    each = for key <- @keys, do: {:lookup, key}
    own = for slot <- Map.keys(owners), do: {:keys, slot}
    unique = for key <- @keys, read <- [:whereis, :entry], do: {read, key}
    found = for criteria <- [[], [tag: :x], [not: [status: :on]]], read <- [:find, :count], do: {read, criteria}
    [:count | each ++ own ++ if(keys == :unique, do: unique ++ found, else: [])]
  end

  defp told_in(%{watches: watches}), do: for({_criteria, told} <- watches, do: told)

  # What watches tell of deaths may come a little later.
  defp settled(world, expected) do
    TestOwner.eventually(fn -> told(world) === expected end, 1_000)
    expected
  rescue
    _not_in_time in RuntimeError -> told(world)
  end

  # What each watch told of each key, in order. A leave or change that is of another registration than the join shows as that.
  defp told(world) do
    TestOwner.run(world.nest, fn ->
      messages = Process.get(:messages, []) ++ messages()
      Process.put(:messages, messages)
      for ref <- Process.get(:watches, []), do: messages |> Enum.filter(&(elem(&1, 1) == ref)) |> by_key(world)
    end)
  end

  defp messages do
    receive do
      {:kantoku_watch, _ref, _event, _what} = message -> [message | messages()]
    after
      0 -> []
    end
  end

  defp by_key(messages, world) do
    messages
    |> Enum.map(&read/1)
    |> Enum.group_by(&elem(&1, 1))
    |> Map.new(fn {key, told} -> {key, told |> Enum.map_reduce(nil, &same_life(&1, &2, world)) |> elem(0)} end)
  end

  defp read({:kantoku_watch, _ref, :leave, {key, pid, incarnation}}), do: {:leave, key, pid, incarnation}
  defp read({:kantoku_watch, _ref, :join, %Entry{} = entry}), do: {:join, entry.key, entry.pid, entry.incarnation}
  defp read({:kantoku_watch, _ref, event, record}), do: {event, elem(record, 0), elem(record, 1), elem(record, 5)}

  defp same_life({:join, _key, pid, incarnation}, _before, world), do: {{:join, who(world, pid)}, incarnation}
  defp same_life({event, _key, pid, same}, same, world), do: {{event, who(world, pid)}, same}

  defp same_life({event, _key, pid, other}, before, world),
    do: {{:stray, event, who(world, pid), other, before}, before}
end
