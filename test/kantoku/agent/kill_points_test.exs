defmodule Kantoku.Agent.KillPointsTest do
  # Two commands with three directives, killed before and after every write and every effect: at each point, and at each two of them.
  use Kantoku.Test.AgentCase, async: true

  alias Kantoku.Test.DeadlyStore

  # 1. What was acknowledged is paid, told to the agent, and in its state, once.
  # 2. What was not acknowledged is so too, or has left no trace at all: neither in the state nor in the world.
  # 3. A kill repeats at most one delivery, under its id.

  test "at any one point, and at any two, no directive is lost or made up, and none is repeated under another id",
       context do
    {steps, 0} = live(context, [])
    assert steps >= 12
    single = for first <- 1..steps, do: [first]
    double = for first <- 1..steps, second <- (first + 1)..(steps + 4), do: [first, second]
    repeated = for kills <- single ++ double, do: context |> live(kills) |> elem(1)
    assert Enum.any?(repeated, &(&1 > 0))
  end

  defp live(context, kills) do
    {:ok, {_module, ref} = store} = Store.open(context.instance, {DeadlyStore, kill_at: kills})
    context = %{context | store: store, id: kills}

    acknowledged =
      for {payments, incarnation} <- [{[1, 2], 1}, {[3], 50}],
          ask(context, incarnation, payments, ref) == :ok,
          do: payments

    pid = settled(context, 100)
    {paid, repeated} = DeadlyStore.paid(ref)
    agent = Server.state(pid)

    assert Enum.sort(agent.paid) == paid,
           "kills at #{inspect(kills)}: paid #{inspect(paid)}, told #{inspect(agent.paid)}"

    assert List.flatten(acknowledged) -- paid == [], "kills at #{inspect(kills)}: lost a directive"
    assert paid in [[], [1, 2], [3], [1, 2, 3]], "kills at #{inspect(kills)}: part of a revision was kept"
    assert agent.count == length(Enum.uniq_by(paid, &(&1 == 3)))
    assert repeated <= length(kills)
    stop(pid)
    {DeadlyStore.steps(ref), repeated}
  end

  defp ask(context, incarnation, payments, ref) do
    pid = start(context, [handler: DeadlyStore], %{incarnation: incarnation})
    answer = unless_killed(fn -> GenServer.call(pid, {:pay_all, for(n <- payments, do: {ref, n})}) end)
    unless_killed(fn -> Server.settle(pid, 5_000) end)
    stop(pid)
    answer
  end

  defp unless_killed(fun) do
    fun.()
  catch
    :exit, _killed -> :killed
  end

  # The handler may be killed along the way again: a domain would start the agent again too.
  defp settled(context, incarnation) do
    pid = start(context, [handler: DeadlyStore], %{incarnation: incarnation})
    if unless_killed(fn -> Server.settle(pid, 5_000) end) == :ok, do: pid, else: settled(context, incarnation + 1)
  end
end
