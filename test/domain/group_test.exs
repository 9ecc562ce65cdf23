defmodule Kantoku.Domain.GroupTest do
  use Kantoku.InstanceCase, async: true

  import Kantoku.Domain.Rows, only: [row: 2]

  alias Kantoku.Domain.{Book, Group, Rows, Start}

  @members ["a", "b", "c"]

  defp group(strategy, opts \\ []) do
    agents = for id <- @members, do: [spec: {TestWorker, [id: id, tell: self()]}, id: id]

    domain = Keyword.merge([name: :team, strategy: strategy, agents: agents, backoff: [base: 20, cap: 20]], opts)
    instance = start!(domains: [domain])
    {instance, pids(instance)}
  end

  defp pids(instance), do: Map.new(@members, &{&1, Kantoku.whereis(instance, &1)})

  # Waits until all members serve, and says which were replaced.
  defp replaced(instance, before) do
    now = eventually(fn -> (pids = pids(instance)) |> Map.values() |> Enum.all?() && pids end)
    for id <- @members, now[id] != before[id], do: id
  end

  defp crash(instance, before, id) do
    kill(before[id])
    back!(instance, id, before[id])
    replaced(instance, before)
  end

  # The delay before a restart is drawn, and may be none.
  defp rests_after_a_kill?(instance, id) do
    if pid = Kantoku.whereis(instance, id), do: kill(pid)
    row(Rows.get(elem(tables(instance), 0), id), :phase) == :resting
  end

  defp supervisor(instance), do: instance |> tables() |> elem(1) |> Book.supervisor(:team, :group)

  defp restarts(instance) do
    {:ok, agents} = Kantoku.agents(instance)
    for id <- @members, agent <- agents, agent.id == id, do: agent.restarts
  end

  test "declared agents start in order and are OTP children under their own ids" do
    {instance, pids} = group(:one_for_one)

    assert for({id, pid, :worker, _} <- Enum.reverse(Supervisor.which_children(supervisor(instance))), do: {id, pid}) ==
             Enum.map(@members, &{&1, pids[&1]})

    for id <- @members, do: assert_received({:started, ^id, _})
  end

  test "one_for_one restarts the one that fell" do
    {instance, pids} = group(:one_for_one)
    assert crash(instance, pids, "a") == ["a"]
    assert restarts(instance) == [1, 0, 0]
  end

  test "rest_for_one restarts those after it as well, and charges only the one that fell" do
    {instance, pids} = group(:rest_for_one)
    assert crash(instance, pids, "b") == ["b", "c"]
    assert restarts(instance) == [0, 1, 0]
    assert crash(instance, pids(instance), "c") == ["c"]
    assert restarts(instance) == [0, 1, 1]
  end

  test "one_for_all restarts all, and charges the group once" do
    {instance, pids} = group(:one_for_all)
    assert crash(instance, pids, "c") == @members
    assert Enum.sum(restarts(instance)) == 1
  end

  for strategy <- [:one_for_one, :rest_for_one, :one_for_all] do
    test "#{strategy}: back-off and parking apply, those behind wait, and unpark brings all back" do
      {instance, _pids} = group(unquote(strategy), budget: [crashes: 2], unpark: :never)

      for _ <- 1..3, do: kill(eventually(fn -> Kantoku.whereis(instance, "a") end))

      eventually_error(instance, "a", :parked)

      case unquote(strategy) do
        :one_for_one -> assert Kantoku.whereis(instance, "b")
        _ -> assert eventually_error(instance, "c", :restarting)
      end

      assert Kantoku.unpark(instance, "a") == :ok
      assert eventually(fn -> instance |> pids() |> Map.values() |> Enum.all?() end)
    end

    test "#{strategy}: a killed supervisor takes its agents along, and its successor starts them once, uncharged" do
      {instance, pids} = group(unquote(strategy))
      old = supervisor(instance)
      kill(old)
      assert eventually(fn -> supervisor(instance) != old end)
      assert replaced(instance, pids) == @members
      refute Enum.any?(Map.values(pids), &Process.alive?/1)
      assert restarts(instance) == [0, 0, 0]
    end

    test "#{strategy}: a killed resting process leaves its agent waiting for the rest of its time" do
      {instance, _pids} = group(unquote(strategy), backoff: [base: 300, cap: 300], budget: [crashes: :infinity])
      assert eventually(fn -> rests_after_a_kill?(instance, "a") end)

      for {"a", resting, _, _} when is_pid(resting) <- Supervisor.which_children(supervisor(instance)),
          do: kill(resting)

      assert eventually(fn -> instance |> pids() |> Map.values() |> Enum.all?() end)
    end
  end

  test "a declared agent can be stopped, stays stopped, and is started again as it was declared" do
    {instance, pids} = group(:rest_for_one)
    assert Kantoku.stop_agent(instance, "b") == :ok
    assert {:error, %Error{reason: :not_found}} = Kantoku.fetch(instance, "b")
    crashed = pids["a"]
    kill(crashed)
    back!(instance, "a", crashed)
    assert Kantoku.whereis(instance, "b") == nil
    assert {:ok, pid} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")
    assert Kantoku.whereis(instance, "b") == pid
    assert {:ok, pid} = Kantoku.restart_agent(instance, "b")
    assert Kantoku.whereis(instance, "b") == pid
  end

  test "of several who start a stopped member at once one does, and the others are told of its process" do
    {instance, _pids} = group(:one_for_one)

    for _ <- 1..20 do
      :ok = Kantoku.stop_agent(instance, "b")
      start = fn -> Kantoku.start_agent(instance, {TestWorker, []}, id: "b", domain: :team) end
      answers = for task <- for(_ <- 1..4, do: Task.async(start)), do: Task.await(task)
      pid = Kantoku.whereis(instance, "b")
      assert Enum.frequencies(answers) == %{{:ok, pid} => 1, {:error, {:already_started, pid}} => 3}
    end
  end

  test "a member whose stopper was killed halfway is stopped all the same" do
    {instance, pids} = group(:one_for_one)
    {rows, _book} = tables(instance)
    Rows.unwant(rows, Rows.get(rows, "b"))
    assert eventually_error(instance, "b", :not_found)
    assert eventually(fn -> not Process.alive?(pids["b"]) end)
    assert {:ok, _pid} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")
  end

  test "a member that was excused for a restart that nobody asked for then goes on" do
    {instance, pids} = group(:one_for_one)
    {rows, _book} = tables(instance)

    excuse = %{
      id: :excuse,
      start: {Start, :excuse, [instance, "b", row(Rows.get(rows, "b"), :gen)]},
      restart: :temporary
    }

    Supervisor.start_child(supervisor(instance), excuse)
    # By the sweeper, which takes its time where the machine has little.
    assert eventually(fn -> row(Rows.get(rows, "b"), :phase) == :up end, 3_000)
    assert pids(instance) == pids
  end

  test "a member that rests when it is excused is started, though nobody asks for that then" do
    {instance, pids} = group(:one_for_one, backoff: [base: 1_000_000, cap: 1_000_000])
    {rows, _book} = tables(instance)
    for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "b") end))
    assert eventually(fn -> row(Rows.get(rows, "b"), :phase) == :resting end)

    excuse = %{
      id: :excuse,
      start: {Start, :excuse, [instance, "b", row(Rows.get(rows, "b"), :gen)]},
      restart: :temporary
    }

    Supervisor.start_child(supervisor(instance), excuse)
    assert eventually(fn -> Kantoku.whereis(instance, "b") end)
    assert Map.delete(pids(instance), "b") == Map.delete(pids, "b")
  end

  test "the reason why a declared agent does not start is told as OTP tells it" do
    Process.flag(:trap_exit, true)
    taken = {:error, {:already_started, self()}}
    agents = [[spec: %{id: "x", start: {Function, :identity, [taken]}}, id: "x"]]
    opts = [name: :kantoku_taken, engine: :elixir, domains: [[name: :team, agents: agents, partitions: 1]]]
    assert {:error, reason} = Kantoku.start_link(opts)
    assert inspect(reason) =~ inspect({:failed_to_start_child, "x", {:already_started, self()}})
  end

  test "who was cut off from above takes no member from a successor" do
    {instance, pids} = group(:one_for_all)
    {rows, book} = tables(instance)
    before = for id <- @members, do: Rows.get(rows, id)
    Process.flag(:trap_exit, true)
    assert Group.start_link({instance, rows, book}, :team, fn -> false end) == {:error, :superseded}
    assert_received {:EXIT, _group, :shutdown}
    assert for(id <- @members, do: Rows.get(rows, id)) == before
    assert pids(instance) == pids
  end

  test "a member is started, stopped and restarted by one at a time, in whatever order" do
    {instance, _pids} = group(:one_for_one)

    for _ <- 1..20 do
      stop = Task.async(fn -> Kantoku.stop_agent(instance, "b") end)
      start = Task.async(fn -> Kantoku.start_agent(instance, {TestWorker, []}, id: "b", domain: :team) end)
      restart = Task.async(fn -> Kantoku.restart_agent(instance, "b") end)
      Enum.each([stop, start, restart], &Task.await/1)

      case Kantoku.fetch(instance, "b") do
        {:ok, pid} ->
          assert {:error, {:already_started, ^pid}} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")

        {:error, %Error{reason: :not_found}} ->
          assert {:ok, _} = Kantoku.start_agent(instance, {TestWorker, []}, id: "b")
      end
    end
  end

  test "a transient member that ends normally is stopped, not restarted" do
    agents = [[spec: {TestWorker, []}, id: "t", restart: :transient]]
    instance = start!(domains: [[name: :team, agents: agents]])
    GenServer.cast(Kantoku.whereis(instance, "t"), {:stop, :normal})
    assert eventually_error(instance, "t", :not_found)
    assert {:ok, _} = Kantoku.start_agent(instance, {TestWorker, []}, id: "t")
  end

  test "an instance whose declared agent does not start does not start, as in OTP" do
    Process.flag(:trap_exit, true)
    refuse = :atomics.new(1, [])
    :atomics.put(refuse, 1, 1)
    agents = [[spec: {TestWorker, [refuse: refuse]}, id: "x"]]
    opts = [name: :kantoku_refused, engine: :elixir, domains: [[name: :team, agents: agents, partitions: 1]]]
    assert {:error, {:shutdown, _}} = Kantoku.start_link(opts)
    assert {:error, %Error{reason: :not_running}} = Kantoku.fetch(:kantoku_refused, "x")
    assert {:ok, pid} = Kantoku.start_link(opts)
    Supervisor.stop(pid)
  end
end
