defmodule Kantoku.Pool.Simulation do
  @moduledoc """
  A pool in simulated time: what a scaling policy makes of a load, in seconds rather than days.

  Requests of a `Kantoku.Pool.Simulation.Trace` come, wait in a bounded queue, are served one at a time by workers that take a
  while to start, and at each tick `Kantoku.Pool.Scaler.decide/4` says how many workers there are to be. Nothing is real but
  the decisions: no process, no clock, no chance but the trace's seed. The queue is plain first come, first served; fairness,
  CoDel and quotas of a real pool are not in it.

      iex> alias Kantoku.Pool.{Scaler, Simulation}
      iex> trace = Simulation.Trace.square(low: 2, high: 20, period: 1_800_000, periods: 3, service: 1_000)
      iex> result = Simulation.run(trace, Scaler.Policy.new!(max: 60), size: 3)
      iex> {result.totals.rejected, result.totals.direction_changes}
      {0, 5}

  ## Options

    * `start_time` - ms until a new worker is ready (1,000);
    * `max_queue` - waiting requests beyond which one is rejected (1,000);
    * `max_wait` - ms after which one that waits is gone (`:infinity`);
    * `tick` - ms between decisions (1,000);
    * `bucket` - ms of a row of the result (a sixtieth of the trace, at least a tick);
    * `size` - workers at the start (the policy's `min`);
    * `history` - a `Kantoku.Pool.Forecast.History` from before the trace, whose clock the trace's goes on from (an empty one);
    * `review` - ms between reviews of the forecast (its season);
    * `decisions` - `:moves` (default) keeps those that changed the size, `:all` every one.
  """

  alias Kantoku.Pool.{Forecast, Scaler}
  alias Kantoku.Pool.Scaler.Policy
  alias Kantoku.Pool.Simulation.{Tally, Trace, Workers}

  @enforce_keys [:rows, :totals, :decisions, :history, :forecast]
  defstruct @enforce_keys

  @typedoc """
  A stretch of the trace. `at` and `until` in ms; `load`: the work that came, in workers; `size`, `ready`, `needs`: at its end; `wanted`:
  the most; waits in ms of those who were served, `nil` if none was.
  """
  @type row :: %{
          at: number,
          until: number,
          arrivals: non_neg_integer,
          load: float,
          size: non_neg_integer,
          ready: non_neg_integer,
          wanted: non_neg_integer,
          needs: number | nil,
          wait_p50: number | nil,
          wait_p99: number | nil,
          rejected: non_neg_integer,
          expired: non_neg_integer
        }

  @typedoc "`direction_changes`: how often growing turned to shrinking or back."
  @type totals :: %{
          arrivals: non_neg_integer,
          served: non_neg_integer,
          rejected: non_neg_integer,
          expired: non_neg_integer,
          wait_p50: number | nil,
          wait_p99: number | nil,
          wait_max: number | nil,
          moves: non_neg_integer,
          direction_changes: non_neg_integer,
          worker_seconds: float
        }

  @typedoc "`history` and `forecast` as they are at the end, `nil` with `forecast: :off`."
  @type t :: %__MODULE__{
          rows: [row],
          totals: totals,
          decisions: [Scaler.Decision.t()],
          history: nil | Forecast.History.t(),
          forecast: nil | Forecast.t()
        }

  @doc "Runs a trace through the scaler, until its end."
  @spec run(Trace.t(), Policy.t(), keyword) :: t
  def run(trace, policy, options \\ []) do
    run = start(trace, policy, Map.merge(defaults(trace, policy), Map.new(options)))
    run |> through() |> result()
  end

  defp defaults(trace, policy) do
    tick = 1_000

    %{
      start_time: 1_000,
      max_queue: 1_000,
      max_wait: :infinity,
      tick: tick,
      bucket: max(tick, ceil((trace.until - trace.at) / 60)),
      size: policy.min,
      history: history(policy.forecast),
      review: review(policy.forecast),
      decisions: :moves
    }
  end

  defp history(:off), do: nil
  defp history(options), do: Forecast.History.new(options)

  defp review(:off), do: nil
  defp review(options), do: options.season

  defp start(trace, policy, options) do
    workers =
      struct!(Workers, Map.take(options, [:start_time, :max_queue, :max_wait, :size]) |> Map.put(:ready, options.size))

    forecast = options.history && Forecast.review(options.history, policy)

    %{
      trace: trace,
      policy: policy,
      options: options,
      workers: workers,
      now: trace.at,
      scaler: Scaler.put_forecast(Scaler.new(), forecast),
      history: options.history,
      reviewed: trace.at,
      tally: Tally.new(options.bucket, trace.at),
      decisions: []
    }
  end

  defp through(%{now: now, trace: %{until: until}} = run) when now >= until, do: run

  defp through(run) do
    now = min(run.now + run.options.tick, run.trace.until)
    {arrivals, trace} = Trace.take(run.trace, now)
    {ends, workers} = run.workers |> Workers.run(arrivals, now) |> Workers.ended()
    observation = observation(workers, arrivals, ends, now, now - run.now)
    {decision, scaler} = Scaler.decide(run.scaler, run.policy, observation, round(now))
    seen = %{now: now, span: now - run.now, arrivals: arrivals, ends: ends, decision: decision}

    %{run | trace: trace, now: now, scaler: scaler, tally: Tally.tick(run.tally, seen)}
    |> Map.merge(%{workers: Workers.resize(workers, decision.wanted, now), decisions: kept(run, decision)})
    |> foretold(decision)
    |> through()
  end

  defp observation(workers, arrivals, ends, now, span) do
    %{
      size: workers.size,
      ready: max(0, workers.ready),
      metrics: %{
        ongoing: Workers.ongoing(workers),
        utilization: Workers.utilization(workers),
        queue_wait: waited(ends, Workers.oldest(workers, now)),
        arrival_rate: length(arrivals) * 1_000 / span,
        service_time: mean(for {_, service} <- arrivals, do: service)
      }
    }
  end

  # Who has not been served yet waits as well.
  defp waited(ends, oldest), do: max(oldest, mean(for {_, {:served, wait}} <- ends, do: wait) || 0)

  defp mean([]), do: nil
  defp mean(values), do: Enum.sum(values) / length(values)

  defp kept(%{options: %{decisions: :all}, decisions: kept}, decision), do: [decision | kept]
  defp kept(%{decisions: kept}, %{size: size, wanted: size}), do: kept
  defp kept(%{decisions: kept}, decision), do: [decision | kept]

  # The history outlives the scaler; the forecast follows it, and is reviewed from time to time.
  defp foretold(%{history: nil} = run, _decision), do: run

  defp foretold(run, decision) do
    history = Forecast.learn(run.history, decision, run.policy)

    cond do
      run.now - run.reviewed >= run.options.review -> reviewed(%{run | history: history, reviewed: run.now})
      Forecast.History.last(history) != Forecast.History.last(run.history) -> followed(%{run | history: history})
      true -> %{run | history: history}
    end
  end

  defp reviewed(run), do: %{run | scaler: Scaler.put_forecast(run.scaler, Forecast.review(run.history, run.policy))}

  defp followed(%{scaler: %{forecast: nil}} = run), do: run

  defp followed(run),
    do: %{run | scaler: Scaler.put_forecast(run.scaler, Forecast.follow(run.scaler.forecast, run.history))}

  defp result(run) do
    {rows, totals} = Tally.result(run.tally, run.now)

    %__MODULE__{
      rows: rows,
      totals: totals,
      decisions: Enum.reverse(run.decisions),
      history: run.history,
      forecast: run.scaler.forecast
    }
  end
end
