require Kantoku.EachEngine

Kantoku.EachEngine.each_engine Kantoku.Metrics.PoolsTest do
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Metrics, Pool}

  defmodule Sleeper do
    use GenServer
    def start_link(_arg), do: GenServer.start_link(__MODULE__, nil)
    @impl true
    def init(nil), do: {:ok, nil}
    @impl true
    def handle_call(:die, _from, _state), do: exit(:kill)

    def handle_call({:wait_for, pid}, _from, state) do
      send(pid, {:at_it, self()})
      receive do: (:go_on -> {:reply, :done, state})
    end

    def handle_call(request, _from, state), do: {:reply, request, state}
    @impl true
    def handle_cast(_request, state), do: {:noreply, state}
  end

  defp start!(pool) do
    pool = Keyword.merge([name: :sleepers, worker: Sleeper, target: 1, warm_up: 1], pool)
    {Kantoku.InstanceCase.start!(engine: @engine, pools: [pool]), :sleepers}
  end

  # By the labels that are not the pool's and the instance's.
  defp read({instance, _pool}, name) do
    {:ok, families} = Metrics.snapshot(instance)

    for %{name: ^name, series: series} <- families, %{labels: labels, value: value} <- series, into: %{} do
      {%{"pool" => "sleepers"}, rest} = Map.split(labels, ["pool"])
      {rest |> Map.delete("instance") |> Map.values() |> List.first(), value}
    end
  end

  defp outcome(pool, outcome), do: read(pool, "kantoku_pool_requests")[outcome]

  test "requests are counted by how they ended" do
    pool = start!(max_queue: 1)
    for n <- 1..40, do: {:ok, ^n} = Pool.call(pool, n)
    assert outcome(pool, "ok") == 40.0
    assert read(pool, "kantoku_pool_arrivals") == %{nil => 40.0}

    {:ok, lease} = Pool.checkout(pool)
    assert read(pool, "kantoku_pool_ongoing") == %{nil => 1.0}
    assert read(pool, "kantoku_pool_utilization_ratio") == %{nil => 1.0}
    :ok = Pool.checkin(lease, :error)
    eventually(fn -> outcome(pool, "error") == 1.0 end)

    {:error, %{reason: :crashed}} = Pool.call(pool, :die)
    eventually(fn -> outcome(pool, "lost") == 1.0 end)
    assert outcome(pool, "ok") == 40.0
  end

  defp of_tenants({instance, _pool}) do
    {:ok, families} = Metrics.snapshot(instance)
    name = "kantoku_pool_tenant_requests"

    for %{name: ^name, series: series} <- families,
        %{labels: %{"tenant" => tenant, "outcome" => outcome}, value: value} <- series,
        into: %{},
        do: {{tenant, outcome}, value}
  end

  test "requests that say whose they are are counted by that, too" do
    pool = start!([])
    for _ <- 1..3, do: {:ok, :hello} = Pool.call(pool, :hello, tenant: "acme")
    {:ok, :hello} = Pool.call(pool, :hello, tenant: :house)
    {:ok, :hello} = Pool.call(pool, :hello)
    :ok = Pool.cast(pool, :hello, tenant: "acme")
    {:ok, :done} = Pool.run(pool, fn _worker -> :done end, tenant: 7)
    {:error, %{reason: :timeout}} = Pool.call(pool, {:wait_for, self()}, timeout: 1, tenant: "acme")

    assert of_tenants(pool) == %{
             {"acme", "ok"} => 4.0,
             {"acme", "timeout"} => 1.0,
             {"house", "ok"} => 1.0,
             {"7", "ok"} => 1.0
           }
  end

  test "of more tenants than there may be series the rest is one" do
    pool = [name: :sleepers, worker: Sleeper, target: 1, warm_up: 1]
    pool = {Kantoku.InstanceCase.start!(engine: @engine, pools: [pool], metrics: [max_series: 50]), :sleepers}
    for n <- 1..120, do: {:ok, :hello} = Pool.call(pool, :hello, tenant: n)
    counted = of_tenants(pool)
    assert map_size(counted) == 51 and counted[{"other", "other"}] == 70.0
  end

  defp times({instance, _pool}, name) do
    {:ok, families} = Metrics.snapshot(instance)

    for %{name: ^name, series: series} <- families,
        %{labels: %{"tenant" => tenant, "pool" => "sleepers"}, value: spread} <- series,
        into: %{},
        do: {tenant, spread}
  end

  test "times are told by tenant, of those who say whose they are" do
    pool = start!([])
    {:ok, :hello} = Pool.call(pool, :hello)
    {:ok, :done} = Pool.run(pool, fn _worker -> :done end)
    requests = "kantoku_pool_tenant_request_duration_seconds"
    waits = "kantoku_pool_tenant_wait_duration_seconds"
    assert {times(pool, requests), times(pool, waits)} == {%{}, %{}}

    parent = self()
    long = Task.async(fn -> Pool.call(pool, {:wait_for, parent}, tenant: "acme") end)
    assert_receive {:at_it, worker}
    waiting = Task.async(fn -> Pool.run(pool, fn _worker -> :done end, tenant: :house) end)
    eventually(fn -> read(pool, "kantoku_pool_queue") == %{nil => 1.0} end)
    Process.send_after(worker, :go_on, 50)
    assert Task.await_many([long, waiting]) == [{:ok, :done}, {:ok, :done}]
    assert %{"acme" => %{count: 1, sum: sum}} = times(pool, requests)
    assert %{"house" => %{count: 1, sum: waited}} = times(pool, waits)
    assert sum >= 0.05 and waited >= 0.04
    assert of_tenants(pool) == %{{"acme", "ok"} => 1.0, {"house", "ok"} => 1.0}
  end

  test "of a hundred tenants times are told apart, of the rest together" do
    pool = start!([])
    for _ <- 1..2, n <- 1..110, do: {:ok, :hello} = Pool.call(pool, :hello, tenant: n)
    told = times(pool, "kantoku_pool_tenant_request_duration_seconds")
    assert map_size(told) == 101 and told["other"].count == 20 and told["7"].count == 2
  end

  test "what nobody waits for any more is counted when its worker is done with it" do
    pool = start!([])
    {:error, %{reason: :timeout}} = Pool.call(pool, {:wait_for, self()}, timeout: 50)
    assert_receive {:at_it, worker}
    assert outcome(pool, "given_up") == 0.0
    send(worker, :go_on)
    eventually(fn -> outcome(pool, "given_up") == 1.0 end)
    assert outcome(pool, "ok") == 0.0
  end

  test "refusals are counted by their reason" do
    pool = start!(max_queue: 1)
    parent = self()
    first = Task.async(fn -> Pool.call(pool, {:wait_for, parent}) end)
    assert_receive {:at_it, worker}
    second = Task.async(fn -> Pool.call(pool, :second) end)
    eventually(fn -> read(pool, "kantoku_pool_queue") == %{nil => 1.0} end)
    assert {:error, %{reason: :queue_full}} = Pool.call(pool, :third)
    assert read(pool, "kantoku_pool_refusals")["queue_full"] == 1.0
    send(worker, :go_on)
    assert {:ok, :done} = Task.await(first)
    assert {:ok, :second} = Task.await(second)
    assert %{nil => %{count: 2}} = read(pool, "kantoku_pool_wait_duration_seconds")
  end

  test "durations are spread as long as requests took, waiting included" do
    pool = start!([])
    parent = self()
    first = Task.async(fn -> Pool.call(pool, {:wait_for, parent}) end)
    assert_receive {:at_it, worker}
    waiting = for n <- 1..3, do: Task.async(fn -> Pool.call(pool, n) end)
    eventually(fn -> read(pool, "kantoku_pool_queue") == %{nil => 3.0} end)
    Process.send_after(worker, :go_on, 50)
    Task.await_many([first | waiting])
    eventually(fn -> outcome(pool, "ok") == 4.0 end)
    %{nil => waits} = read(pool, "kantoku_pool_wait_duration_seconds")
    assert waits.count == 4
    assert waits.sum >= 0.15
    %{nil => requests} = read(pool, "kantoku_pool_request_duration_seconds")
    assert requests.count >= 3
    assert requests.sum >= waits.sum
  end

  test "of requests that find a worker at once, as many are told of as there were" do
    pool = start!([])
    for n <- 1..320, do: {:ok, ^n} = Pool.call(pool, n)
    assert %{nil => %{count: 320}} = read(pool, "kantoku_pool_wait_duration_seconds")
    %{nil => %{count: count}} = read(pool, "kantoku_pool_request_duration_seconds")
    assert count == 320
  end

  test "workers are told by what they take, and a pool that is gone is left out" do
    pool = start!(target: 3, warm_up: 3)
    assert %{"ready" => 3.0, "leaving" => 0.0} = read(pool, "kantoku_pool_workers")
    {:ok, _drained} = Pool.stop(pool)
    assert read(pool, "kantoku_pool_workers") == %{}
  end
end
