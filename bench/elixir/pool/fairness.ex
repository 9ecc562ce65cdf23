defmodule Bench.Fairness do
  @moduledoc false
  # One tenant floods a pool, another asks now and then: how long the other waits, against how long it waits alone. And what it
  # costs to be fair, where nobody floods.
  @behaviour Bench.Suite

  alias Bench.{Arrivals, Callers, Comparison, Latencies, Measurement, Options, Side, Stage, Unchanged}
  alias Bench.Pool.{ClosedLoop, Rig}

  @size 16
  # A holder sleeps 1 ms, which takes nearly 2, so a pool of 16 serves some 8,000 in a second; the flood asks for 10,000.
  @victim_a_second 100
  @flood_a_second 100 * @victim_a_second

  @callers 64
  # Throughput may be 6 % less.
  @dear 1 / 0.94
  @patient [max_queue: 1_000_000]

  @impl true
  def name, do: "fairness"

  @impl true
  def stages(options) do
    flood = [victim("p99.victim", :ours, options), victim("p99.victim.poolboy", :poolboy, options), generator(options)]
    limits = %{fair: @patient, plain: [codel: false] ++ @patient}

    [
      %Stage{build: fn -> Rig.open(@size, options, [:poolboy], @patient) end, clear: &Rig.close/1, items: flood},
      %Stage{
        build: fn -> both(limits, options) end,
        clear: &close/1,
        items: for(tenants <- [8, @callers], do: cost(tenants, options))
      }
    ]
  end

  # Beside a flood ------------------------------------------------------------------------------------------------------

  # How often better it is alone: 1.0 where the flood is not felt.
  defp victim(name, side, options) do
    millis = Options.size(options, 5_000, 2_000)

    %Comparison{
      name: name,
      unit: "µs",
      better: :lower,
      ours: %Side{does: "#{side}: the victim beside a flood", round: &beside_a_flood(&1, side, millis)},
      theirs: %Side{does: "#{side}: the victim alone", round: &victims(&1, side, millis)}
    }
  end

  # A backlog stands from the first moments on. It ends with the flood, and what it had checked out comes back. A flood that is not
  # ended in time ends by itself: a pool that it brought down is not to take this VM along.
  defp beside_a_flood(rig, side, millis) do
    flood = fn ->
      Arrivals.begin(@flood_a_second, 2 * millis, fn _meant -> serve(rig, side, :flood) end)
      Process.sleep(:infinity)
    end

    p99 = Callers.beside(flood, fn -> victims(rig, side, millis) end)
    # poolboy looks through all that wait for each of them that died: who comes now is served when that is done.
    serve(rig, side, :calm)
    Process.sleep(300)
    p99
  end

  # Open loop, too, and punctual: timed from when each was meant to start. A sleep ends with a tick of the VM's clock, of a millisecond:
  # 1 ms begun on the tick lasts 1, begun just after it 2. At whole distances all requests of a round would come at one place between
  # two ticks, and a round would tell of that place; so they go through all of them, evenly (by the golden section).
  @tick 1_000_000
  @step 618_034

  defp victims(rig, side, millis) do
    Process.sleep(100)
    latencies = Latencies.new()
    start = Callers.now()
    gap = div(1_000_000_000, @victim_a_second)

    requests =
      for number <- 1..div(millis * @victim_a_second, 1_000) do
        meant = start + number * gap + rem(number * @step, @tick)
        wait_until(meant)
        {_pid, monitor} = spawn_monitor(fn -> request(rig, side, latencies, meant) end)
        monitor
      end

    Enum.each(requests, &await/1)
    [{"p50", _}, {"p99", p99} | _] = Latencies.summary(latencies)
    p99
  end

  defp await(monitor) do
    receive do
      {:DOWN, ^monitor, :process, _pid, :normal} -> :ok
    end
  end

  # It is the flood that may be refused.
  defp request(rig, side, latencies, meant) do
    true = serve(rig, side, :victim) in [:ok, {:ok, :ok}]
    Latencies.record(latencies, Callers.now() - meant)
  end

  defp serve(%{ours: pool}, :ours, tenant),
    do: Kantoku.Pool.run(pool, fn _worker -> Process.sleep(1) end, tenant: tenant, timeout: 60_000)

  defp serve(rig, :poolboy, _tenant), do: Rig.work(rig, :poolboy, :rest)

  defp wait_until(time) do
    case time - Callers.now() do
      left when left > 2_000_000 -> Process.sleep(div(left, 1_000_000) - 1)
      left when left > 0 -> :erlang.yield()
      _late -> :ok
    end

    if Callers.now() < time, do: wait_until(time), else: :ok
  end

  defp generator(options) do
    millis = Options.size(options, 5_000, 2_000)

    %Measurement{
      name: "fairness.generator",
      unit: "of one",
      does: "the share of the schedulers' time that it takes to begin the flood, of requests that do nothing",
      run: fn _rig -> [{"cpu", Arrivals.cost(@flood_a_second, millis)}] end
    }
  end

  # What it costs -------------------------------------------------------------------------------------------------------

  defp both(limits, options), do: Map.new(limits, fn {which, limits} -> {which, Rig.ours(@size, options, limits)} end)
  defp close(pools), do: for({_which, {_name, instance}} <- pools, do: Supervisor.stop(instance))

  defp cost(tenants, options) do
    millis = Options.size(options, 1_000, 250)

    %Unchanged{
      bound: @dear,
      comparison: %Comparison{
        name: "cost.fair",
        variant: "#{tenants}",
        unit: "1/s",
        better: :higher,
        ours: %Side{
          does: "Kantoku.Pool.call/3, #{@size} workers, #{@callers} callers of #{tenants} tenants, CoDel on",
          round: fn pools -> throughput(pools.fair, millis, &rem(&1, tenants)) end
        },
        theirs: %Side{
          does: "the same callers as one tenant, CoDel off",
          round: fn pools -> throughput(pools.plain, millis, fn _index -> 0 end) end
        }
      }
    }
  end

  defp throughput({name, _instance}, millis, tenant) do
    work = fn index ->
      {:ok, :hello} = Kantoku.Pool.call({name, :workers}, :hello, timeout: :infinity, tenant: tenant.(index))
    end

    [{"throughput", rate} | _] = ClosedLoop.run(@callers, millis, work)
    rate
  end
end
