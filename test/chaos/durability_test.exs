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
  end
end
