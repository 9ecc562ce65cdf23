defmodule Kantoku.Domain.RepairTest do
  use Kantoku.InstanceCase, async: true

  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Domain.{Book, Rows, Start}

  # What K1 promises: when the second process begins, the first one is dead.
  defp assert_only_one_at_a_time(id) do
    assert_receive {:started, ^id, first}
    fn -> assert_second(id, first) end
  end

  defp assert_second(id, first) do
    assert_receive {:started, ^id, second}
    refute Process.alive?(first)
    second
  end

  test "what a killed supervisor was starting, deaf to exits, is dead before its successor starts, and the starter is answered" do
    instance = start!()
    starter = Task.async(fn -> Kantoku.start_agent(instance, slow(self_of_test()), id: "a") end)
    second = assert_only_one_at_a_time("a")
    kill(supervisor_of(instance, "a"))
    pid = second.()
    assert Task.await(starter) == {:ok, pid}
    assert Kantoku.whereis(instance, "a") == pid
  end

  defp self_of_test, do: Process.get(:"$callers") |> List.last()

  defp slow(test), do: {TestWorker, [id: "a", tell: test, slow: 300, trap: true]}

  test "the same at a restart" do
    instance = start!()
    old = worker!(instance, "a", slow: 300, trap: true)
    assert_received {:started, "a", ^old}
    kill(old)
    second = assert_only_one_at_a_time("a")
    kill(supervisor_of(instance, "a"))
    pid = second.()
    assert eventually(fn -> Kantoku.whereis(instance, "a") == pid end)
  end

  test "the same in a group" do
    agents = [[spec: {TestWorker, [id: "g", tell: self(), slow: 300, trap: true]}, id: "g"]]
    instance = start!(domains: [[name: :team, agents: agents]])
    assert_received {:started, "g", old}
    kill(old)
    second = assert_only_one_at_a_time("g")
    {_rows, book} = tables(instance)
    kill(Book.supervisor(book, :team, :group))
    pid = second.()
    assert eventually(fn -> Kantoku.whereis(instance, "g") == pid end)
  end

  test "an agent that outlives its killed supervisor is dead before its successor starts" do
    instance = start!()
    worker!(instance, "a", trap: true, linger: 400)
    second = assert_only_one_at_a_time("a")
    kill(supervisor_of(instance, "a"))
    second.()
  end

  test "a supervisor cut off from above is awaited, and what it still does loses" do
    instance = start!()
    worker!(instance, "a", trap: true, linger: 200)
    second = assert_only_one_at_a_time("a")
    {rows, book} = tables(instance)
    row(sup: old, part: part) = Rows.get(rows, "a")
    kill(Book.seated(book, {:pair, :default, part}))
    second.()
    refute Process.alive?(old)
    assert supervisor_of(instance, "a") != old
  end

  test "a starter that is killed after it wished leaves an agent that is started all the same" do
    instance = start!(domains: [[name: :default, partitions: 1]])
    {_rows, book} = tables(instance)
    agents = Book.supervisor(book, :default, 0)
    :sys.suspend(agents)
    starter = spawn(fn -> Kantoku.start_agent(instance, {TestWorker, []}, id: "a") end)
    assert eventually(fn -> match?({:ok, [%{status: :starting}]}, Kantoku.agents(instance)) end)
    kill(starter)
    :sys.resume(agents)
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
  end

  test "who wanted an agent stopped and was killed at it is obeyed" do
    instance = start!()
    pid = worker!(instance, "a")
    {rows, _book} = tables(instance)
    assert Rows.unwant(rows, Rows.get(rows, "a"))
    assert eventually(fn -> Kantoku.agents(instance) == {:ok, []} end)
    refute Process.alive?(pid)
    assert eventually(fn -> match?({:ok, %{agents: 0}}, Kantoku.status(instance)) end)
  end

  test "who wanted an agent restarted and was killed at it leaves it running" do
    instance = start!()
    pid = worker!(instance, "a")
    agents = supervisor_of(instance, "a")
    {rows, _book} = tables(instance)
    gen = Rows.get(rows, "a") |> elem(2)
    assert Start.aside(agents, 0, :excuse, [instance, "a", gen]) == :ignore
    DynamicSupervisor.terminate_child(agents, pid)
    assert back!(instance, "a", pid)
    assert {:ok, [%{restarts: 0}]} = Kantoku.agents(instance)
  end

  test "a start asked for twice holds one place" do
    instance = start!()
    pid = worker!(instance, "a")
    {rows, _book} = tables(instance)
    child = Start.child(Rows.get(rows, "a"))
    assert DynamicSupervisor.start_child(supervisor_of(instance, "a"), child) == :ignore
    assert [{:undefined, ^pid, :worker, _}] = DynamicSupervisor.which_children(supervisor_of(instance, "a"))
  end

  test "a resting process that is killed leaves its agent waiting for the rest of its time" do
    instance = start!(domains: [[name: :default, backoff: [base: 60_000, cap: 60_000]]])
    worker!(instance, "a")
    replaced!(instance, "a")
    kill(Kantoku.whereis(instance, "a"))
    before = eventually(fn -> resting(instance, "a") end)
    due = Kantoku.fetch(instance, "a") |> elem(1) |> Map.get(:details) |> Map.get(:retry_in)
    kill(before)
    assert eventually(fn -> (now = resting(instance, "a")) && now != before end)
    assert {:error, %Error{reason: :restarting, details: %{retry_in: left}}} = Kantoku.fetch(instance, "a")
    assert left <= due
    assert Kantoku.unpark(instance, "a") == :ok
    assert eventually(fn -> Kantoku.whereis(instance, "a") end)
  end

  defp resting(instance, id) do
    for {_, pid, _, [module]} <- DynamicSupervisor.which_children(supervisor_of(instance, id)),
        module == TestWorker,
        is_pid(pid) do
      if :proc_lib.translate_initial_call(pid) == {Kantoku.Domain.Resting, :init, 1}, do: pid
    end
    |> List.first()
  end

  test "an agent taken from its supervisor by hand is off the books" do
    instance = start!()
    pid = worker!(instance, "a")
    DynamicSupervisor.terminate_child(supervisor_of(instance, "a"), pid)
    assert eventually_error(instance, "a", :not_found)
  end

  test "a count that is wrong is put right" do
    instance = start!()
    worker!(instance, "a")
    {_rows, book} = tables(instance)
    :ok = Kantoku.Domain.Gauges.enter(Book.chain(book, :default), instance)
    assert eventually(fn -> match?({:ok, %{agents: 1}}, Kantoku.status(instance)) end)
  end
end
