Code.require_file("terms.exs", __DIR__)

# The same requests end the same way in a pool of each engine, and who is then out, for what and how it is told is compared. Times are
# so long, or so short, that it is no matter at which moment of theirs the engines are asked.
if Kantoku.Native.loaded?() do
  defmodule Kantoku.EjectionAgreeTest do
    use ExUnit.Case, async: true
    import Kantoku.EachEngine, only: [with_both: 2]
    import Kantoku.Terms, only: [check: 3]
    alias Kantoku.TestPool

    @moduletag :property
    @moduletag timeout: 300_000
    @workers 0..5

    test "pools of both engines eject, readmit and panic alike" do
      check({config(), :proper_types.resize(80, :proper_types.list(command()))}, &agree?/1, 150)
    end

    defp config do
      {integer(0, 3), integer(1, 100), integer(0, 100), :proper_types.boolean(), :proper_types.boolean(), integer(1, 2)}
    end

    defp command do
      :proper_types.frequency([
        {20, {:work, integer(0, 5), :proper_types.elements([:ok, :error, :error, :abandoned, :cancelled])}},
        {3, {:eject, integer(0, 6)}},
        {4, {:readmit, integer(0, 6)}},
        {3, {:shut, integer(0, 5)}},
        {3, {:join, integer(0, 5)}},
        {1, {:leave, integer(0, 5)}},
        {2, {:hold, integer(0, 5)}},
        {2, :tick},
        {1, {:configure, config()}}
      ])
    end

    defp integer(least, most), do: :proper_types.integer(least, most)

    defp agree?({config, commands}) do
      pids = for _ <- 1..2, do: for(_ <- @workers, do: TestPool.relay())
      flush()

      with_both(:ejection_agree, fn instances ->
        pools =
          for {instance, name} <- Enum.zip(instances, [:one, :other]), do: %TestPool{instance: instance, name: name}

        sides = Enum.zip(pools, pids)
        for pool <- pools, do: :ok = TestPool.reopen(pool, options(config))
        for {pool, pids} <- sides, {pid, member} <- Enum.with_index(pids), do: :ok = TestPool.join(pool, pid, member)
        Enum.each(commands, &step(&1, sides))
      end)

      for pid <- List.flatten(pids), do: Process.exit(pid, :kill)
      true
    end

    defp flush do
      receive do
        _any -> flush()
      after
        0 -> :ok
      end
    end

    # Nobody comes back by time, and shares do not grow: with less than all of one, chance would choose.
    defp options({failures, percent, panic, enforced, none, max_ongoing}) do
      rules = [
        enforced: enforced,
        consecutive_failures: failures,
        max_ejection_percent: percent,
        interval: 0xFFFFFFFF,
        base_ejection_time: 0xFFFFFFFF,
        max_ejection_time: 0xFFFFFFFF
      ]

      ejection = if none, do: nil, else: TestPool.ejection(rules)
      [strategy: :round_robin, max_ongoing: max_ongoing, healthy_panic_threshold: panic, ejection: ejection]
    end

    defp step(command, sides) do
      [one, other] = for {pool, _pids} = side <- sides, do: {do_step(command, side), looks(side), notices(pool)}
      assert one == other, "after #{inspect(command)}: #{inspect(one)} and #{inspect(other)}"
    end

    defp do_step({:work, member, ending}, {pool, pids}) do
      pid = Enum.at(pids, member)

      case TestPool.call(pool, :work, route: pid, wait: 0) do
        {:sent, ticket, by} ->
          {Enum.find_index(pids, &(&1 == by)), ended(pool, ticket, ending)}

        {:error, reason, _retry_in} ->
          reason
      end
    end

    defp do_step({:eject, member}, {pool, _pids}), do: TestPool.eject(pool, member, :infinity)
    defp do_step({:readmit, member}, {pool, _pids}), do: TestPool.readmit(pool, member)
    defp do_step({:shut, member}, {pool, pids}), do: TestPool.shut(pool, Enum.at(pids, member))
    defp do_step({:join, member}, {pool, pids}), do: TestPool.join(pool, Enum.at(pids, member), member)
    defp do_step({:leave, member}, {pool, pids}), do: TestPool.leave(pool, Enum.at(pids, member))
    defp do_step(:tick, {pool, _pids}), do: TestPool.tick(pool)
    defp do_step({:configure, config}, {pool, _pids}), do: TestPool.reopen(pool, options(config))

    # A permit that never comes back.
    defp do_step({:hold, member}, {pool, pids}) do
      with {:granted, _ticket, by} <- TestPool.checkout(pool, :held, route: Enum.at(pids, member), wait: 0),
           do: Enum.find_index(pids, &(&1 == by)),
           else: ({:error, reason, _retry_in} -> reason)
    end

    defp ended(pool, ticket, :cancelled), do: {TestPool.cancel(pool, ticket), TestPool.answered(pool, ticket)}

    defp ended(pool, ticket, :abandoned),
      do: {TestPool.checkin(pool, ticket, :abandoned), TestPool.answered(pool, ticket)}

    defp ended(pool, ticket, outcome), do: TestPool.checkin(pool, ticket, outcome)

    defp looks({pool, _pids}) do
      ejections =
        for {member, state, cause, _since, _left, times, share} <- TestPool.ejections(pool),
            do: {member, state, cause, times, share}

      workers =
        for {_pid, member, state, ongoing, _latency, served} <- TestPool.workers(pool),
            do: {member, state, ongoing, served}

      {ejections, workers, Map.drop(TestPool.status(pool), [:hold, :wait])}
    end

    # In the order in which the foreman hears it.
    defp notices(%{name: name} = pool) do
      receive do
        {:kantoku_pool, ^name, {:ejected, _pid, member}} -> [{:ejected, member} | notices(pool)]
        {:kantoku_pool, ^name, {:left, _pid}} -> [:left | notices(pool)]
        {:kantoku_pool, ^name, {what, about}} when what in [:returned, :panic] -> [{what, about} | notices(pool)]
      after
        0 -> []
      end
    end
  end
end
