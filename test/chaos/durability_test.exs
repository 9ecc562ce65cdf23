if Kantoku.Native.loaded?() do
  defmodule Kantoku.Chaos.DurabilityTest do
    # Whatever ends a VM, what its agents had acknowledged is there in the next one:
    #
    # D1. each caller's last acknowledged step, or that and the one it was waiting for: never an older one;
    # D2. no step is missing before it, none was taken twice, and the revision counts exactly the changes;
    # D3. each directive reached the world at least once, under one id, and its agent was told so once.
    use ExUnit.Case, async: true

    alias Kantoku.{Fleet, MortalVM}
    alias Kantoku.Test.{Journal, Ledger}

    @moduletag :tmp_dir
    @moduletag timeout: :infinity

    @callers 3

    setup %{tmp_dir: dir} do
      store = Path.join([dir, "data", "agents.redb"])
      {:ok, store: store, journal: Path.join(dir, "journal")}
    end

    # Lives ------------------------------------------------------------------------------------------------------------

    defp launch(context, agents, options \\ []) do
      vm = MortalVM.start()
      :ok = MortalVM.run(vm, {Fleet, :launch, [options(context, options), agents, context.journal]})
      vm
    end

    defp options(context, more), do: [store: {Kantoku.Store.Disk, path: context.store}] ++ more

    defp work(vm, agents, context) do
      :ok = MortalVM.run(vm, {Fleet, :work, [ids(agents), @callers, context.journal]})
    end

    defp ids(agents), do: for({id, _options} <- agents, do: id)

    # What must hold ---------------------------------------------------------------------------------------------------

    defp acked(context) do
      for [id, caller, n] <- Journal.read(context.journal, :acked), reduce: %{} do
        acked -> Map.update(acked, id, %{caller => n}, &Map.update(&1, caller, n, fn seen -> max(seen, n) end))
      end
    end

    defp check(agents, context) do
      acked = acked(context)
      Enum.each(agents, fn {id, ledger, info} -> check_agent(id, ledger, info, Map.get(acked, id, %{})) end)
      assert Journal.read(context.journal, :failed) == []
      assert File.ls!(Path.dirname(context.store)) == [Path.basename(context.store)]
    end

    defp check_agent(id, ledger, info, acked) do
      for {caller, n} <- acked do
        step = Map.get(ledger.steps, caller, 0)
        assert step in [n, n + 1], "agent #{id}, caller #{caller}: acknowledged #{n}, found #{step}"
      end

      assert ledger.torn == [], "agent #{id}: #{inspect(ledger.torn)}"
      assert info.revision == ledger.changes
    end

    defp check_paid(agents, context) do
      for {id, ledger, _info} <- agents, {caller, n} <- ledger.steps do
        assert Map.get(ledger.paid, caller, 0) == Ledger.due(n), "agent #{id}, caller #{caller}: got to #{n}"
      end

      payments = Journal.read(context.journal, :paid)
      by_bill = Enum.group_by(payments, fn [id, caller, n, _id] -> {id, caller, n} end, &List.last/1)
      assert for({bill, ids} <- by_bill, length(Enum.uniq(ids)) > 1, do: {bill, ids}) == []
      assert length(Enum.uniq_by(payments, &List.last/1)) == map_size(by_bill)

      due = for {id, ledger, _} <- agents, {caller, n} <- ledger.paid, at <- 3..n//3, do: {id, caller, at}
      assert Enum.sort(due) == Enum.sort(Map.keys(by_bill))
      {length(due), length(payments) - length(due)}
    end

    defp count(context), do: context |> acked() |> Map.values() |> Enum.flat_map(&Map.values/1) |> Enum.sum()

    # Tests ------------------------------------------------------------------------------------------------------------

    defp rounds do
      times = String.to_integer(System.get_env("KANTOKU_TIMES", "1"))
      if System.get_env("KANTOKU_SOAK"), do: 100, else: 5 * times
    end

    # A VM that is killed while it opens the file and takes up its agents, then one that is killed at work.
    defp round_of_kills(agents, context) do
      vm = MortalVM.start()
      MortalVM.begin(vm, {Fleet, :launch, [options(context, []), agents, context.journal]})
      Process.sleep(:rand.uniform(100))
      MortalVM.kill(vm)

      vm = launch(context, agents)
      check(MortalVM.run(vm, {Fleet, :states, [ids(agents)]}), context)
      work(vm, agents, context)
      Process.sleep(:rand.uniform(500))
      MortalVM.kill(vm)
    end

    @tag :chaos
    test "a VM that is killed with SIGKILL under load loses nothing that was acknowledged", context do
      agents = for id <- 1..6, do: {id, [snapshot: :every_change, durability: :sync]}
      rounds = rounds()
      for _ <- 1..rounds, do: round_of_kills(agents, context)

      vm = launch(context, agents)
      found = MortalVM.run(vm, {Fleet, :settled, [ids(agents)]}, :infinity)
      check(found, context)
      {paid, repeated} = check_paid(found, context)
      MortalVM.kill(vm)

      acknowledged = count(context)
      assert acknowledged > 0 and paid > 0

      IO.puts(
        "kill -9: #{rounds} rounds of two, #{acknowledged} acknowledged, 0 lost, 0 older; #{paid} directives, 0 lost, " <>
          "#{repeated} repeated under their id"
      )
    end

    # Orderly ends -----------------------------------------------------------------------------------------------------

    @policies [:every_change, :on_stop, :manual, {:every, 1_000}, {:interval, 60_000}]

    defp of_each_policy do
      for {policy, id} <- Enum.with_index(@policies), do: {id, [snapshot: policy]}
    end

    defp wait_for_steps(agents, context, steps) do
      acked = acked(context)

      if Enum.any?(ids(agents), &(steps_of(acked, &1) < steps)),
        do: Process.sleep(10) && wait_for_steps(agents, context, steps)
    end

    defp steps_of(acked, id), do: acked |> Map.get(id, %{}) |> Map.values() |> Enum.sum()

    defp end_in_order(context, ending) do
      agents = of_each_policy()
      vm = launch(context, agents, drain: [timeout: 20_000])
      work(vm, agents, context)
      wait_for_steps(agents, context, 20)
      ending.(vm)
      waited = MortalVM.await_end(vm)

      next = launch(context, agents)
      found = MortalVM.run(next, {Fleet, :settled, [ids(agents)]}, :infinity)
      check(found, context)
      check_paid(found, context)
      MortalVM.kill(next)
      waited
    end

    defp ends, do: if(System.get_env("KANTOKU_SOAK"), do: 20, else: 2)

    defp system_stop(vm), do: MortalVM.begin(vm, {System, :stop, [0]})

    @tag :chaos
    test "System.stop/1 under load keeps all that was acknowledged, whatever the policy", context do
      for _ <- 1..ends(), do: assert(end_in_order(context, &system_stop/1) < 20_000)
    end

    @tag :chaos
    test "SIGTERM under load keeps all that was acknowledged, whatever the policy", context do
      for _ <- 1..ends(), do: assert(end_in_order(context, &MortalVM.signal(&1, "TERM")) < 20_000)
    end

    @tag :chaos
    test "work that does not end is cut off at the drain's time, and the others are kept", context do
      agents = of_each_policy()
      stuck = {:stuck, [shutdown: 500]}
      vm = launch(context, [stuck | agents], drain: [timeout: 1_000])
      work(vm, agents, context)
      wait_for_steps(agents, context, 20)
      MortalVM.begin(vm, {Fleet, :ask, [:stuck, {:stick, :infinity}]})
      Process.sleep(50)
      MortalVM.signal(vm, "TERM")
      assert MortalVM.await_end(vm) in 1_000..8_000

      next = launch(context, agents)
      check(MortalVM.run(next, {Fleet, :settled, [ids(agents)]}, :infinity), context)
      MortalVM.kill(next)
    end

    @tag :chaos
    test "an orderly end waits for the disk, however much there is to write", context do
      agents = for id <- 1..40, do: {id, [snapshot: :on_stop]}
      vm = launch(context, agents)
      for id <- ids(agents), do: assert({:ok, :ok} = MortalVM.run(vm, {Fleet, :ask, [id, {:load, 1_000_000}]}))
      MortalVM.signal(vm, "TERM")
      MortalVM.await_end(vm)

      next = launch(context, agents)

      assert MortalVM.run(next, {Fleet, :loads, [ids(agents)]}) == List.duplicate(1_000_000, 40)
      MortalVM.kill(next)
    end
  end
end
