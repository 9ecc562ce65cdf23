defmodule Kantoku.Domain.EventsTest do
  use Kantoku.InstanceCase, async: true

  alias Kantoku.Telemetry

  defp subscribed(opts, events) do
    instance = start!(opts)
    {:ok, ref} = Kantoku.subscribe(instance, events: events)
    {instance, ref}
  end

  defp next(ref) do
    assert_receive {:kantoku_event, ^ref, [:kantoku | name], measurements, metadata}
    Telemetry.ack(ref)
    {name, measurements, metadata}
  end

  test "the life of an agent is told in order" do
    policy = [backoff: [base: 5, cap: 5], budget: [crashes: 1], unpark: :never]
    {instance, ref} = subscribed([domains: [[name: :default] ++ policy]], [[:agent]])
    pid = worker!(instance, "a")

    assert {[:agent, :spawned], %{system_time: _}, %{id: "a", pid: ^pid, module: TestWorker, domain: :default}} =
             next(ref)

    kill(pid)
    assert {[:agent, :crashed], %{crashes: 1}, %{id: "a", pid: ^pid}} = next(ref)
    assert {[:agent, :restarting], %{delay: 0, crashes: 1}, %{id: "a"}} = next(ref)
    assert {[:agent, :spawned], _, %{pid: second}} = next(ref)

    kill(second)
    assert {[:agent, :crashed], %{crashes: 2}, _} = next(ref)
    assert {[:agent, :parked], %{crashes: 2, retry_in: :never}, _} = next(ref)
    eventually_error(instance, "a", :parked)

    assert Kantoku.unpark(instance, "a") == :ok
    assert {[:agent, :unparked], %{parked_for: ms}, %{by: :operator}} = next(ref)
    assert ms >= 0
    assert {[:agent, :spawned], _, _} = next(ref)

    assert Kantoku.stop_agent(instance, "a") == :ok
    assert {[:agent, :stopped], _, %{id: "a", reason: :stopped}} = next(ref)
  end

  test "why an agent does not come back is told" do
    {instance, ref} = subscribed([], [[:agent, :stopped]])

    stopped = fn id ->
      assert {[:agent, :stopped], _, %{id: ^id, reason: reason}} = next(ref)
      reason
    end

    GenServer.cast(worker!(instance, "done", restart: :transient), {:stop, :normal})
    assert stopped.("done") == :ended
    kill(worker!(instance, "once", restart: :temporary))
    assert stopped.("once") == :ended

    {:error, _} = Kantoku.start_agent(instance, {Agent, fn -> exit(:no_model) end}, id: "refused")
    assert {:refused, :no_model} = stopped.("refused")
    spec = %{id: "ignored", start: {Function, :identity, [:ignore]}}
    _ = Kantoku.start_agent(instance, spec, id: "ignored")
    assert stopped.("ignored") == :ignore

    worker!(instance, "lost", restart: :temporary)
    kill(supervisor_of(instance, "lost"))
    assert stopped.("lost") == :lost
    worker!(instance, "drained")
    {:ok, _} = Kantoku.drain(instance, 1_000)
    assert stopped.("drained") == :drained
  end

  test "a drain tells each step" do
    {instance, ref} = subscribed([], [[:drain]])
    worker!(instance, "a")
    assert {:ok, _} = Kantoku.drain(instance, 1_000)
    assert {[:drain, :start], %{agents: 1, deadline: 1_000}, %{domain: nil}} = next(ref)
    assert {[:drain, :step], %{remaining: 0}, %{step: :finished}} = next(ref)
    assert {[:drain, :step], _, %{step: {:stopped, :default}}} = next(ref)
    assert {[:drain, :stop], %{cut_off: 0}, %{result: :complete}} = next(ref)
  end

  test "throttling and escalation are told of the domain" do
    policy = [on_exhausted: :escalate, max_restarts: 0, storm: [rate: 1_000, burst: 1]]
    {instance, ref} = subscribed([domains: [[name: :a] ++ policy]], [[:domain, :escalated], [:domain, :throttled]])
    kill(worker!(instance, "x", domain: :a))
    assert {[:domain, :escalated], %{crashes: 1}, %{domain: :a, parent: nil, reason: :max_restarts}} = next(ref)
    assert eventually(fn -> Kantoku.whereis(instance, "x") end)

    Kantoku.Domain.update(instance, :a, on_exhausted: :park, storm: [rate: 1, burst: 1])
    for id <- ["y", "z"], do: worker!(instance, id, domain: :a)
    for id <- ["y", "z"], do: kill(Kantoku.whereis(instance, id))
    assert {[:domain, :throttled], %{delay: delay}, %{domain: :a}} = next(ref)

    # The two supervisors read the clock themselves: who reserves second may have died first, and then waits longer than the rate's 1,000.
    assert delay in 1..2_000
  end
end
