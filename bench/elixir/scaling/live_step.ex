defmodule Bench.Scaling.LiveStep do
  @moduledoc false
  # A load that rises at once, on a real pool with the default policy: how long until workers that were started for it serve it. Each
  # step meets a pool that had a light load for longer than the policy looks back. Several such pools stand ready, and are taken one
  # after the other.

  alias Bench.{Callers, Check, Measurement, Options, Statistics}
  alias Bench.Pool.Echo

  @size 4
  @light 2
  @heavy 16
  @hold 10
  @ready 8
  # The policy's `:look_back`, and some more.
  @light_ms 2_500
  @within 1_000
  # Nothing is slower than that, or it never comes.
  @patience 30_000

  @typedoc "When the first new worker answered, and when as many new as old ones had; in ms from the step."
  @type step :: %{first: float, twice: float}

  @spec run(Options.t()) :: [step, ...]
  def run(%Options{engine: engine} = options) do
    name = :"bench_scaling_#{System.unique_integer([:positive])}"
    {:ok, instance} = Kantoku.start_link(name: name, engine: engine)
    # The first are for the code to be loaded.
    [_warm | steps] = for _ <- 0..Options.size(options, 25, 3), do: batch(name)
    Supervisor.stop(instance)
    Enum.concat(steps)
  end

  defp batch(instance) do
    pools = for number <- 1..@ready, do: start(instance, :"step_#{number}")
    Process.sleep(@light_ms)
    for {pool, callers} <- pools, do: step(pool, callers)
  end

  defp start(instance, name) do
    options = [name: name, worker: Echo, min: @size, max: 16 * @size, scaling: [], queue_target: 60_000]
    {:ok, pool} = Kantoku.Pool.start(instance, options)
    {pool, for(_ <- 1..@light, do: caller(pool, MapSet.new()))}
  end

  defp step(pool, callers) do
    old = MapSet.new(pids(pool))
    began = Callers.now()
    callers = callers ++ for _ <- 1..(@heavy - @light), do: caller(pool, old)
    [first | _] = seen = new_ones(@size, MapSet.new(), [])
    for pid <- callers, do: Process.exit(pid, :kill)
    {:ok, _report} = Kantoku.Pool.stop(pool, @patience)
    %{first: (first - began) / 1.0e6, twice: (List.last(seen) - began) / 1.0e6}
  end

  defp pids(pool) do
    {:ok, workers} = Kantoku.Pool.workers(pool)
    for %{pid: pid} <- workers, do: pid
  end

  # Closed loops that tell of workers they did not know. Those of the light load know none, and are not listened to.
  defp caller(pool, known) do
    bench = self()
    spawn(fn -> call(pool, known, if(MapSet.size(known) > 0, do: bench)) end)
  end

  defp call(pool, known, bench) do
    {:ok, worker} = Kantoku.Pool.call(pool, {:rest, @hold}, timeout: :infinity)
    if bench && worker not in known, do: send(bench, {:new, worker, Callers.now()})
    call(pool, MapSet.put(known, worker), bench)
  end

  defp new_ones(0, _seen, at), do: Enum.reverse(at)

  defp new_ones(left, seen, at) do
    receive do
      {:new, worker, now} ->
        if worker in seen,
          do: new_ones(left, seen, at),
          else: new_ones(left - 1, MapSet.put(seen, worker), [now | at])
    after
      @patience -> raise "no new worker served for #{@patience} ms"
    end
  end

  @spec items() :: [Measurement.t() | Check.t()]
  def items do
    does =
      "a pool of #{@size} with `scaling: []` and #{@light} callers gets #{@heavy}, each request takes a worker #{@hold} ms: " <>
        "until the first worker that was not there answers, and until #{@size} such have; code is warm"

    [
      %Measurement{name: "scaling.step", unit: "ms", does: does, rounds: 1, run: &figures/1},
      %Check{
        name: "scaling.step_in_time",
        does: "whether the p99 of `scaling.step.first` is above #{@within} ms",
        zero: ["p99 above"],
        run: fn steps -> [{"steps", length(steps)}, {"p99 above", late(steps)}] end
      }
    ]
  end

  defp figures(steps) do
    for which <- [:first, :twice], {label, q} <- [{"p50", 0.5}, {"p99", 0.99}, {"max", 1.0}] do
      {"#{which}.#{label}", quantile(steps, which, q)}
    end
  end

  defp late(steps), do: if(quantile(steps, :first, 0.99) > @within, do: 1, else: 0)
  defp quantile(steps, which, q), do: steps |> Enum.map(& &1[which]) |> Statistics.quantile(q)
end
