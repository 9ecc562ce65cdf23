import Kantoku.EachEngine

defmodule Kantoku.HealthTest.Agent do
  use Kantoku.Agent

  def new(args), do: args

  def cmd(agent, {:hold, tell}) do
    send(tell, {:holding, self()})
    receive do: (:go_on -> {agent, []})
  end

  def cmd(agent, {:wait, ms, tell}) do
    Kantoku.waiting(ms, fn -> send(tell, {:waiting, self()}) && receive(do: (:go_on -> :ok)) end)
    send(tell, {:waited, self()})
    receive do: (:go_on -> {agent, []})
  end

  def cmd(agent, {:ask, instance, id, tell}) do
    send(tell, {:asking, self()})
    receive do: (:go_on -> :ok)
    {agent, [{:reply, Kantoku.call(instance, id, :ping, :infinity)}]}
  end

  def cmd(agent, :ping), do: {agent, [{:reply, :pong}]}
end

defmodule Kantoku.HealthTest.Plain do
  use GenServer
  def start_link(_), do: GenServer.start_link(__MODULE__, nil)
  def init(_), do: {:ok, nil}

  def handle_call({:hold, tell}, _from, state) do
    send(tell, {:holding, self()})
    receive do: (:go_on -> {:reply, :ok, state})
  end
end

each_engine Kantoku.HealthTest do
  import Kantoku.InstanceCase, only: [start!: 1, back!: 3]
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Error, Health, Telemetry}
  alias Kantoku.HealthTest.{Agent, Plain}

  # Who holds on to something is not waited for when the test is over.
  defp instance!(health, opts \\ []) do
    opts = Keyword.put_new(opts, :domains, [[name: :default, shutdown: 20]])
    start!([engine: @engine, drain: [timeout: 20], health: Keyword.merge([period: 40], health)] ++ opts)
  end

  defp agent!(instance, id, opts \\ []) do
    {:ok, pid} = Kantoku.start_agent(instance, Agent, [id: id] ++ opts)
    assert eventually(fn -> match?({:ok, %{state: :healthy}}, Health.status(instance, {:agent, id})) end)
    # It has taken its pulse up: the board knows, and what was seen of it before is forgotten.
    assert eventually(fn -> condition(instance, id) == :up end)
    assert eventually(fn -> match?({:ok, %{state: :healthy}}, Health.status(instance, {:agent, id})) end)
    pid
  end

  defp condition(instance, id) do
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    with {_node, _pid, condition} <- book |> Health.Board.of() |> Health.Board.agent(id), do: condition
  end

  # Not from the agent's own caller: nobody waits for what holds.
  defp begin(pid, request), do: GenServer.cast(pid, request)

  defp state(instance, of) do
    case Health.status(instance, of) do
      {:ok, %{state: state}} -> state
      {:error, %{reason: reason}} -> reason
    end
  end

  defp until(instance, of, state), do: assert(eventually(fn -> state(instance, of) == state end))

  defp rounds(instance, count) do
    {:ok, subscription} = Telemetry.subscribe(instance, events: [[:health, :round]])
    for _ <- 1..count, do: assert_receive({:kantoku_event, _, [:kantoku, :health, :round], _, _})
    Telemetry.unsubscribe(subscription)
  end

  test "an agent is healthy, and so are its domain and the instance" do
    instance = instance!([])
    agent!(instance, "a")

    assert {:ok, %{state: :healthy, members: %{healthy: 1, unhealthy: 0}}} =
             Health.status(instance, {:domain, :default})

    assert {:ok, %{state: :healthy, members: %{healthy: 1}, since: ms}} = Health.status(instance)
    assert ms >= 0
    assert {:ok, %{busy: nil, probes: [%{name: :passive, kind: :liveness}]}} = Health.status(instance, {:agent, "a"})
    assert {:error, %Error{reason: :not_found} = error} = Health.status(instance, {:agent, "b"})
    assert Exception.message(error) =~ "is not looked after"
    :ok = Kantoku.stop_agent(instance, "a")
    until(instance, {:agent, "a"}, :not_found)
    assert {:ok, %{members: %{healthy: 0}}} = Health.status(instance, {:domain, :default})
  end

  test "an agent beyond its limit is restarted with its state, by its domain" do
    instance = instance!([])
    old = agent!(instance, "a", max_busy: 30)
    begin(old, {:hold, self()})
    assert_receive {:holding, ^old}
    back!(instance, "a", old)
    until(instance, {:agent, "a"}, :healthy)
    {:ok, [%{restarts: 1}]} = Kantoku.agents(instance)
    assert Kantoku.call(instance, "a", :ping) == {:ok, :pong}
  end

  test "with `restart: false` it is only told, and well again when it is done" do
    instance = instance!(restart: false)
    pid = agent!(instance, "a", max_busy: 20)
    {:ok, _} = Telemetry.subscribe(instance, events: [[:health, :changed]])
    begin(pid, {:hold, self()})
    until(instance, {:agent, "a"}, :unhealthy)

    assert {:ok, %{busy: %{over: over}, probes: [%{verdict: :failing, evidence: %{over: _, busy_for: _}}]}} =
             Health.status(instance, {:agent, "a"})

    assert over > 0
    assert_receive {:kantoku_event, _, [:kantoku, :health, :changed], %{}, %{of: {:agent, "a"}, to: :unhealthy}}
    assert_receive {:kantoku_event, _, [:kantoku, :health, :changed], %{}, %{of: {:domain, :default}, to: :unhealthy}}
    assert_receive {:kantoku_event, _, [:kantoku, :health, :changed], %{}, %{of: :instance, to: :unhealthy}}
    rounds(instance, 3)
    assert Kantoku.whereis(instance, "a") == pid
    send(pid, :go_on)
    until(instance, {:agent, "a"}, :healthy)
    begin(pid, {:hold, self()})
    until(instance, {:agent, "a"}, :unhealthy)
    :ok = Health.configure(instance, restart: true)
    back!(instance, "a", pid)
  end

  test "what nobody declared is unknown, and never restarted" do
    instance = instance!([])
    pid = agent!(instance, "a")
    begin(pid, {:hold, self()})
    until(instance, {:agent, "a"}, :unknown)
    rounds(instance, 4)
    assert Kantoku.whereis(instance, "a") == pid
    send(pid, :go_on)
    until(instance, {:agent, "a"}, :healthy)
  end

  test "a declared wait puts the limit off, and no longer than it said" do
    instance = instance!(restart: false)
    pid = agent!(instance, "a", max_busy: 200)
    begin(pid, {:wait, 60_000, self()})
    assert_receive {:waiting, ^pid}
    {:ok, %{busy: %{over: over}}} = Health.status(instance, {:agent, "a"})
    assert over in -60_000..-50_000
    send(pid, :go_on)
    assert_receive {:waited, ^pid}
    {:ok, %{busy: %{over: over}}} = Health.status(instance, {:agent, "a"})
    assert over > -201
    until(instance, {:agent, "a"}, :unhealthy)
    send(pid, :go_on)
    until(instance, {:agent, "a"}, :healthy)
    begin(pid, {:wait, 50, self()})
    until(instance, {:agent, "a"}, :unhealthy)
  end

  test "agents that wait for each other in a circle are restarted" do
    instance = instance!([])
    [one, other] = for id <- ["one", "other"], do: agent!(instance, id)
    begin(one, {:ask, instance, "other", self()})
    begin(other, {:ask, instance, "one", self()})
    assert_receive {:asking, ^one}
    assert_receive {:asking, ^other}
    for pid <- [one, other], do: send(pid, :go_on)
    back!(instance, "one", one)
    assert eventually(fn -> Kantoku.call(instance, "other", :ping) == {:ok, :pong} end)
  end

  test "who only waits for a busy one is not in a circle" do
    instance = instance!([])
    [one, other] = for id <- ["one", "other"], do: agent!(instance, id)
    begin(other, {:hold, self()})
    begin(one, {:ask, instance, "other", self()})
    assert_receive {:asking, ^one}
    send(one, :go_on)
    until(instance, {:agent, "one"}, :unknown)
    rounds(instance, 4)
    assert [Kantoku.whereis(instance, "one"), Kantoku.whereis(instance, "other")] == [one, other]
  end

  test "an OTP agent that stands still in the middle of something is stuck beyond its module's limit, else unknown" do
    instance = instance!([])
    {:ok, pid} = Kantoku.start_agent(instance, {Plain, []}, id: "p")
    until(instance, {:agent, "p"}, :healthy)
    spawn(fn -> GenServer.call(pid, {:hold, self()}, :infinity) end)
    until(instance, {:agent, "p"}, :unknown)
    rounds(instance, 3)
    assert Kantoku.whereis(instance, "p") == pid
    :ok = Health.configure(instance, max_busy: %{Plain => 50})
    back!(instance, "p", pid)
    until(instance, {:agent, "p"}, :healthy)
  end

  test "an agent that is down is not healthy until it is back" do
    instance = instance!([], domains: [[name: :default, shutdown: 20, backoff: [base: 60_000]]])
    pid = agent!(instance, "a")
    # The first time it is back at once.
    Kantoku.TestOwner.kill(back!(instance, "a", tap(pid, &Kantoku.TestOwner.kill/1)))
    assert eventually(fn -> Kantoku.whereis(instance, "a") == nil end)
    until(instance, {:agent, "a"}, :unhealthy)
    assert {:ok, %{state: :unhealthy, members: %{unhealthy: 1}}} = Health.status(instance, {:domain, :default})
    :ok = Kantoku.unpark(instance, "a")
    back!(instance, "a", pid)
    until(instance, :instance, :healthy)
  end

  test "a pool is healthy by its rule" do
    pools = [[name: :writers, worker: {Plain, []}, target: 4, domain: [shutdown: 20]]]
    instance = instance!([restart: false, rule: {:quorum, 50}, max_busy: %{Plain => 30}], pools: pools)
    assert eventually(fn -> match?({:ok, %{members: %{healthy: 4}}}, Health.status(instance, {:pool, :writers})) end)
    {:ok, workers} = Kantoku.Pool.workers({instance, :writers})
    test = self()
    hold = fn %{pid: pid} -> spawn(fn -> GenServer.call(pid, {:hold, test}, :infinity) end) end
    workers |> Enum.take(2) |> Enum.each(hold)
    until(instance, {:pool, :writers}, :degraded)
    workers |> Enum.drop(2) |> Enum.take(1) |> Enum.each(hold)
    until(instance, {:pool, :writers}, :unhealthy)
    :ok = Health.configure(instance, rule: {:quorum, 25})
    until(instance, {:pool, :writers}, :degraded)
  end

  test "health goes on where it was when who makes the rounds is killed, and when its registry is" do
    instance = instance!([])
    agent!(instance, "a")
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    Kantoku.TestOwner.kill(Health.Board.rounds(book))
    rounds(instance, 2)
    assert {:ok, %{members: %{healthy: 1}}} = Health.status(instance)
    Kantoku.TestOwner.kill(Process.whereis(instance))
    assert eventually(fn -> match?({:ok, %{members: %{healthy: 1}}}, Health.status(instance)) end)
  end

  test "whoever asks is answered while health is killed, and nothing is left of what was before" do
    instance = instance!([])
    for id <- 1..50, do: {:ok, _pid} = Kantoku.start_agent(instance, Agent, id: id)
    whole = fn -> match?({:ok, %{members: %{healthy: 50}}}, Health.status(instance, {:domain, :default})) end
    assert eventually(whole)
    pids = for id <- 1..50, do: Kantoku.whereis(instance, id)
    asking = for id <- 1..4, do: Task.async(fn -> ask_until_told(instance, id) end)
    # An instance before this one may have left room for the pulses of many.
    held = fn -> if @engine == :native, do: Kantoku.Native.stats(instance).health, else: 0 end
    before = held.()

    for _ <- 1..20 do
      {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
      board = eventually(fn -> Health.Board.of(book) end)
      Kantoku.TestOwner.kill(:ets.info(board, :owner))
      assert eventually(fn -> Health.Board.of(book) != board end)
    end

    assert eventually(whole)
    assert for(id <- 1..50, do: Kantoku.whereis(instance, id)) == pids
    for task <- asking, do: send(task.pid, :enough)
    assert asking |> Task.await_many() |> Enum.all?(&(&1 > 0))
    # The places of those before were taken again.
    assert held.() < before + 30_000
  end

  defp ask_until_told(instance, id, asked \\ 0) do
    answer = Health.status(instance, {:agent, id})
    assert match?({:ok, %{state: _}}, answer) or match?({:error, %Error{}}, answer)

    receive do
      :enough -> asked
    after
      0 -> ask_until_told(instance, id, asked + 1)
    end
  end

  test "switched off, nothing is looked at" do
    instance = start!(engine: @engine, health: false)
    {:ok, _pid} = Kantoku.start_agent(instance, Agent, id: "a")
    assert {:error, %Error{reason: :not_found}} = Health.status(instance)
    assert {:error, %Error{reason: :not_found}} = Health.configure(instance, restart: false)
    assert_raise ArgumentError, ~r/:period/, fn -> Health.configure(instance, period: 0) end
    assert Kantoku.waiting(5, fn -> 7 end) == 7
  end
end
