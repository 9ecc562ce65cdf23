defmodule Kantoku.Agent.RandomLifeTest do
  # Random lives under every policy, against what was seen of them. A failure names the seed that repeats it.
  use Kantoku.Test.AgentCase, async: true

  # 1. What comes back is the agent exactly as it was at the revision that comes back.
  # 2. That revision is none before the newest that the store had, and after an orderly end or crash it is the newest there was.
  # 3. With `:every_change` it is the newest there was, whatever the end.

  @policies [:every_change, {:every, 3}, {:interval, 1}, {:interval, 60_000}, :on_stop, :manual]
  @ends [:kill, :kill, :shutdown, :crash]
  @lives 12

  for policy <- @policies do
    test "with #{inspect(policy)} an agent comes back as it was at the revision that was kept", context do
      for seed <- 1..15, do: live(%{context | id: seed}, unquote(Macro.escape(policy)), seed)
    end

    @tag :soak
    @tag timeout: 600_000
    test "with #{inspect(policy)} that is so in a thousand lives more", context do
      for seed <- 1_001..1_084, do: live(%{context | id: seed}, unquote(Macro.escape(policy)), seed)
    end
  end

  defp live(context, policy, seed) do
    Enum.reduce(1..@lives, {:rand.seed_s(:exsss, seed), %{0 => Account.new([])}, 0}, fn incarnation,
                                                                                        {random, history, floor} ->
      pid = start(context, [snapshot: policy, hibernate_after: 0], %{incarnation: incarnation})
      check_return(pid, history, floor, seed)
      {random, history, floor} = act(pid, random, history, floor)
      {how, random} = pick(@ends, random)
      {random, history, end_life(pid, how, policy, history, floor)}
    end)
  end

  defp check_return(pid, history, floor, seed) do
    %{revision: revision} = Server.info(pid)
    assert revision >= floor, "seed #{seed}: revision #{revision} came back, #{floor} was kept"
    assert Server.state(pid) === history[revision], "seed #{seed}: revision #{revision} came back changed"
  end

  # Each step's state goes into the history under its revision, over what a lost life had there.
  defp act(pid, random, history, floor) do
    {steps, random} = :rand.uniform_s(8, random)

    Enum.reduce(1..steps, {random, history, floor}, fn _step, {random, history, floor} ->
      {n, random} = :rand.uniform_s(1_000, random)
      {action, random} = pick([{:add, n}, {:add, n}, {:paid, n}, :nothing, :count, :snapshot], random)
      if action == :snapshot, do: {:ok, _} = Server.snapshot(pid), else: GenServer.call(pid, action)
      %{revision: revision, kept: kept} = Server.info(pid)
      {random, Map.put(history, revision, Server.state(pid)), max(floor, kept)}
    end)
  end

  defp pick(list, random) do
    {n, random} = :rand.uniform_s(length(list), random)
    {Enum.at(list, n - 1), random}
  end

  defp end_life(pid, how, policy, _history, floor) do
    %{revision: newest} = Server.info(pid)
    if how == :crash, do: catch_exit(GenServer.call(pid, :crash)), else: Process.exit(pid, how)
    gone(pid)
    if how == :kill and policy != :every_change, do: floor, else: newest
  end
end
