Code.require_file("terms.exs", __DIR__)

# Runs the same commands on an instance of each engine, with the same owners and seats, and compares every answer. Where
# one of them counts as it likes (incarnations, handles), what is compared is order and identity.
if Kantoku.Native.loaded?() do
  defmodule Kantoku.EnginesAgreeTest do
    use ExUnit.Case, async: true
    import Kantoku.Terms, only: [check: 3]
    alias Kantoku.{Engine, TestOwner}

    @moduletag :property
    @moduletag timeout: 300_000
    @owners 4
    @engines [:native, :elixir]

    for keys <- [:unique, :duplicate] do
      test "both engines answer alike under #{keys} keys" do
        check(:proper_types.list(command(unquote(keys))), &agree?(unquote(keys), &1), 400)
      end
    end

    # Commands --------------------------------------------------------------------------------------------------------

    defp command(keys) do
      owner = :proper_types.integer(0, @owners - 1)
      key = :proper_types.oneof([:a, :b, {:c, 1.0}, {:c, 1}, "d"])
      value = :proper_types.integer(0, 9)
      facets = :proper_types.list(:proper_types.oneof([{:tag, :x}, {:tag, "y"}, {:status, :on}, {{:metadata, 1}, 2}]))
      picks = :proper_types.list(:proper_types.integer(0, 2))

      common = [
        {8, {:register, owner, key, value}},
        {3, {:unregister, owner, key}},
        {2, {:unregister, owner, key, picks}},
        {2, {:put_value, owner, key, value}},
        {3, {:kill, owner}},
        {1, {:register_many, owner}}
      ]

      unique = [
        {3, {:take_over, owner, key, value, owner}},
        {3, {:claim, owner, key, value}},
        {2, {:disclaim, owner, key}},
        {8, {:describe, owner, key, :proper_types.integer(0, 3), value, facets}},
        {4, {:load, key, :proper_types.integer(-5, 9)}},
        {2, {:find, facets, facets, facets}},
        {2, {:watch, facets}}
      ]

      :proper_types.frequency(if keys == :unique, do: common ++ unique, else: common)
    end

    # Running ---------------------------------------------------------------------------------------------------------

    defp agree?(keys, commands) do
      instances = for engine <- @engines, do: {engine, open(keys, engine)}

      try do
        seat = TestOwner.start()
        for {_engine, instance} <- instances, do: TestOwner.run(seat, fn -> :ok = Engine.seat(instance, 0, self()) end)
        state = %{instances: instances, owners: for(_ <- 1..@owners, do: TestOwner.start()), watches: []}
        state = Enum.reduce(commands, state, &step/2)
        same_members!(state)
        for pid <- [seat | state.owners], do: TestOwner.kill(pid)
        true
      after
        for {_engine, instance} <- instances, do: Engine.close(instance)
      end
    end

    defp open(keys, engine) do
      instance = :"agree_#{engine}_#{:erlang.phash2(self())}"
      :ok = Engine.open(instance, keys, 1, [], engine)
      instance
    end

    defp step({:kill, index}, state) do
      TestOwner.kill(Enum.at(state.owners, index))
      see(%{state | owners: List.replace_at(state.owners, index, TestOwner.start())}, {:kill, index})
    end

    defp step({:watch, facets}, state) do
      watches =
        for {_engine, instance} <- state.instances do
          {:ok, ref, records} = Engine.watch(instance, {Enum.uniq(facets), [], [], :none, :infinity}, self())
          {instance, ref, facets, MapSet.new(records, &elem(&1, 5))}
        end

      %{state | watches: watches ++ state.watches}
    end

    defp step(command, state) do
      answers = for {_engine, instance} <- state.instances, do: run(command, instance, state.owners)
      alike!(command, answers)
      see(state, command)
    end

    defp run({:register, owner, key, value}, instance, owners) do
      TestOwner.run(Enum.at(owners, owner), fn -> Engine.register(instance, key, value) end)
    end

    defp run({:register_many, owner}, instance, owners) do
      TestOwner.run(Enum.at(owners, owner), fn -> for n <- 1..40, do: Engine.register(instance, {:many, n}, n) end)
    end

    defp run({:unregister, owner, key}, instance, owners) do
      TestOwner.run(Enum.at(owners, owner), fn -> Engine.unregister(instance, key) end)
    end

    defp run({:unregister, owner, key, picks}, instance, owners) do
      owner = Enum.at(owners, owner)
      incarnations = for {incarnation, _value} <- Engine.own(instance, key, owner), do: incarnation
      chosen = for pick <- picks, incarnation = Enum.at(incarnations, pick), do: incarnation
      TestOwner.run(owner, fn -> Engine.unregister(instance, key, chosen) end)
    end

    defp run({:put_value, owner, key, value}, instance, owners) do
      owner = Enum.at(owners, owner)

      case Engine.own(instance, key, owner) do
        [] -> :none
        own -> TestOwner.run(owner, fn -> Engine.put_value(instance, key, own |> List.last() |> elem(0), value) end)
      end
    end

    defp run({:take_over, owner, key, value, from}, instance, owners) do
      from = Enum.at(owners, from)
      TestOwner.run(Enum.at(owners, owner), fn -> Engine.take_over(instance, key, value, from) end)
    end

    defp run({:claim, owner, key, value}, instance, owners) do
      with {:ok, _incarnation} <- Engine.claim(instance, key, Enum.at(owners, owner), value), do: :ok
    end

    defp run({:disclaim, owner, key}, instance, owners), do: Engine.disclaim(instance, key, Enum.at(owners, owner))

    defp run({:describe, owner, key, expected, value, facets}, instance, owners) do
      case Engine.describe(instance, key, Enum.at(owners, owner), expected, %{n: value, facets: facets}, facets) do
        {:ok, version, _handle} -> {:ok, version}
        other -> other
      end
    end

    defp run({:load, key, change}, instance, _owners) do
      case Engine.entry(instance, key) do
        {_record, _version, handle} when handle != nil -> Engine.add_load(instance, handle, change)
        other -> other == :none
      end
    end

    defp run({:find, all, any, none}, instance, _owners) do
      any = if any == [], do: [], else: [any]

      for order <- [:none, :load, :started_at, :random], limit <- [:infinity, 2] do
        query = {all, any, none, order, limit}
        records = Engine.find(instance, query)
        pairs = Engine.find_pids(instance, query)
        {order, limit, Engine.count(instance, query), shown(order, limit, records), length(pairs)}
      end
    end

    # A limit leaves open which, unless the order says so; among equal loads any order will do.
    defp shown(:started_at, _limit, records), do: Enum.map(records, &without_incarnation/1)
    defp shown(:load, _limit, records), do: Enum.map(records, &elem(&1, 4))
    defp shown(_order, :infinity, records), do: records |> Enum.map(&without_incarnation/1) |> Enum.sort()
    defp shown(_order, _limit, records), do: length(records)

    defp without_incarnation(record), do: Tuple.delete_at(record, 5)

    # Seeing ----------------------------------------------------------------------------------------------------------

    @seen [:a, :b, {:c, 1.0}, {:c, 1}, "d", {:many, 7}]

    defp see(state, command) do
      answers = for {_engine, instance} <- state.instances, do: seen(instance, state.owners)
      alike!({:seen_after, command}, answers)
      state
    end

    defp seen(instance, owners) do
      %{
        whereis: for(key <- @seen, do: Engine.whereis(instance, key)),
        lookup: for(key <- @seen, do: Engine.lookup(instance, key)),
        keys: for(owner <- owners, do: Engine.keys(instance, owner)),
        own: for(owner <- owners, key <- @seen, do: own(instance, key, owner)),
        entries: for(key <- @seen, do: entry(instance, key)),
        all: instance |> slices(0) |> Enum.sort(),
        count: counted(instance, 0)
      }
    end

    defp own(instance, key, owner) do
      own = Engine.own(instance, key, owner)
      assert own == Enum.sort_by(own, &elem(&1, 0))
      for {_incarnation, value} <- own, do: value
    end

    defp entry(instance, key) do
      with :unique <- if(Engine.whereis(instance, key) == :duplicate, do: :duplicate, else: :unique),
           {record, version, handle} <- Engine.entry(instance, key) do
        {without_incarnation(record), version, handle != nil}
      end
    end

    defp slices(_instance, :done), do: []

    defp slices(instance, cursor) do
      {entries, next} = Engine.slice(instance, cursor, 7)
      entries ++ slices(instance, next)
    end

    defp counted(_instance, :done), do: 0

    defp counted(instance, cursor) do
      {count, next} = Engine.count_slice(instance, cursor, 7)
      count + counted(instance, next)
    end

    defp alike!(what, [native, elixir]) do
      if native != elixir, do: raise("#{inspect(what)}: native #{inspect(native)}, elixir #{inspect(elixir)}")
    end

    # The members that a watch has told of come to be what a query finds; each message fits what was told before.
    defp same_members!(state) do
      for {instance, ref, facets, members} <- state.watches do
        now = fn -> MapSet.new(Engine.find(instance, {Enum.uniq(facets), [], [], :none, :infinity}), &elem(&1, 5)) end
        settle(ref, members, now.())
      end
    end

    defp settle(ref, members, now) do
      receive do
        {:kantoku_watch, ^ref, event, what} -> settle(ref, told(event, what, members), now)
      after
        if(MapSet.equal?(members, now), do: 0, else: 2_000) -> assert MapSet.equal?(members, now)
      end
    end

    defp told(:leave, {_key, _pid, incarnation}, members) do
      assert incarnation in members
      MapSet.delete(members, incarnation)
    end

    defp told(event, record, members) do
      assert elem(record, 5) in members == (event == :change)
      MapSet.put(members, elem(record, 5))
    end
  end
end
