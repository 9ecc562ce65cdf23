defmodule Kantoku.Pool.Scaling do
  # How a pool scales itself: what its foreman does for that at each tick. The decision is `Kantoku.Pool.Scaler`'s; here it is told what
  # to look at, and what it said is kept in the instance's book, with all that the next one needs. So a foreman that was started again
  # goes on in the same windows. Whatever may take long is done aside, by a process that says `{:scaling, kind, result}` when it is done.
  @moduledoc false

  alias Kantoku.Degradation
  alias Kantoku.Pool.{Config, Forecast, Notes, Scaler}
  alias Kantoku.Pool.Scaler.{Decision, Headroom, Policy}
  alias Kantoku.Pool.Scaling.{Journal, Outlook, Readings, Recorder, Samples}

  @kept [:size, :offset, :scaler, :readings, :journal]

  # `size`: as last decided. `offset`: from monotonic to system time when scaling began; so time does not go back, and seasons follow
  # the sun. `aside`: by kind, who is at it.
  @enforce_keys [:book, :pool, :policy, :size, :offset, :journal]
  defstruct @enforce_keys ++
              [
                scaler: Scaler.new(),
                readings: %Readings{},
                outlook: nil,
                samples: %Samples{},
                recorder: nil,
                aside: %{}
              ]

  @type t :: %__MODULE__{
          book: :ets.tid(),
          pool: atom,
          policy: Policy.t(),
          size: non_neg_integer,
          offset: integer,
          scaler: Scaler.t(),
          readings: Readings.t(),
          journal: Journal.t(),
          outlook: Outlook.t() | nil,
          samples: Samples.t(),
          recorder: Recorder.t(),
          aside: %{atom => pid}
        }

  @typedoc "An event without `:pool`."
  @type event :: {name :: atom, measurements :: map, metadata :: map}

  # Life -------------------------------------------------------------------------------------------------------------------

  @doc "Where the book says that it stands; from the target on, if it was not scaled before; `nil` if it is not scaled."
  @spec resume(:ets.tid(), Config.t()) :: t | nil
  def resume(_book, %{scaling: nil}), do: nil

  def resume(book, %{name: pool, scaling: policy} = config) do
    {open, kept} = book |> kept(config) |> Map.pop(:open)

    struct!(%__MODULE__{book: book, pool: pool, policy: policy, size: 0, offset: 0, journal: nil}, kept)
    |> Map.put(:outlook, Outlook.open(book, pool, policy, open))
    |> bounded()
  end

  defp kept(book, %{name: pool, target: target}) do
    case :ets.lookup(book, {:pool_scaling, pool}) do
      [{_key, kept}] -> kept
      [] -> %{size: target, offset: System.time_offset(:millisecond), journal: Journal.open(book, pool)}
    end
  end

  @doc "After a change of the pool's options. A new target is a new size, from which it goes on."
  @spec change(t | nil, :ets.tid(), Config.t(), target :: nil | non_neg_integer) :: t | nil
  def change(_scaling, book, %{scaling: nil, name: pool}, _target) do
    :ets.delete(book, {:pool_scaling, pool})
    nil
  end

  def change(nil, book, config, _target), do: resume(book, config)

  def change(%{policy: old} = scaling, book, %{scaling: policy} = config, target) do
    scaling = bounded(%{scaling | policy: policy, size: target || scaling.size})

    if old.forecast == policy.forecast,
      do: keep(scaling),
      else: keep(%{scaling | outlook: Outlook.change(scaling.outlook, book, config.name, policy)})
  end

  defp bounded(%{policy: policy} = scaling),
    do: %{scaling | size: scaling.size |> max(policy.min) |> min(policy.max)}

  defp keep(%{book: book, pool: pool, scaler: scaler} = scaling) do
    kept = %{Map.take(scaling, @kept) | scaler: Scaler.put_forecast(scaler, nil)}
    open = scaling.outlook && scaling.outlook.history.open
    :ets.insert(book, {{:pool_scaling, pool}, Map.put(kept, :open, open)})
    scaling
  end

  @doc "Forgets all of a pool that is stopped."
  @spec delete(:ets.tid(), atom) :: true
  def delete(book, pool) do
    :ets.delete(book, {:pool_scaling, pool})
    Recorder.record(book, pool, nil)
    Journal.delete(book, pool)
    Outlook.delete(book, pool)
  end

  # A tick -----------------------------------------------------------------------------------------------------------------

  @doc "Decides the size, from the engine's counts and what one worker uses, which only quotas of that need."
  @spec step(t, Config.t(), Readings.counts(), workers :: [pid], each :: %{memory: number | nil, cpu: number | nil}) ::
          {[event], t}
  def step(scaling, config, counts, workers, each) do
    now = System.monotonic_time(:millisecond) + scaling.offset
    {metrics, readings} = Readings.of(scaling.readings, counts, config.max_ongoing, now)
    metrics = Map.merge(metrics, Samples.fresh(scaling.samples, now))
    scaling = look_ahead(%{scaling | readings: readings})

    {decision, scaler} =
      Scaler.decide(scaling.scaler, scaling.policy, observation(scaling, config, counts, metrics, each), now)

    {events, scaling} = decided(%{scaling | scaler: scaler, size: decision.wanted}, decision)
    {events, scaling |> record(decision) |> learn(decision) |> keep() |> review(now) |> sample(config, counts, workers)}
  end

  defp observation(%{size: size, readings: readings}, config, counts, metrics, each) do
    limits = limits(readings, counts) ++ used(config, each) ++ rates(config, readings, counts, metrics.service_time)
    {headroom, limited_by} = Headroom.least(size, limits)
    %{size: size, ready: counts.ready, metrics: metrics, headroom: headroom, limited_by: limited_by}
  end

  # Quotas refuse requests, and of those that they let through none waits: more workers would serve nothing more.
  defp limits(readings, counts), do: if(Readings.held_by_quota?(readings, counts), do: [quota: 0], else: [])

  # What one worker uses says how many fit.
  defp used(config, each) do
    for {what, most} <- config.quotas, one = each[what], one > 0, do: {what, {most, one}}
  end

  # How much quotas let through, of the pool and, where all that comes is under some, of its tenants.
  defp rates(_config, _readings, _counts, nil), do: []

  defp rates(%{quotas: quotas, max_ongoing: max_ongoing}, readings, counts, service_time) do
    each = service_time / max_ongoing
    pool = for {:pool, what, per_minute, _burst} <- quotas, do: {:requests, {requests(what, per_minute, counts), each}}
    pool ++ for per_minute <- Readings.of_tenants(readings, counts), do: {:tenants, {per_minute, each}}
  end

  # A request costs a token or more.
  defp requests(:requests, per_minute, _counts), do: per_minute
  defp requests(:tokens, per_minute, counts), do: per_minute * 1_000 / max(Map.get(counts, :cost, 0), 1_000)

  defp look_ahead(%{outlook: outlook, scaler: scaler} = scaling),
    do: %{scaling | scaler: Scaler.put_forecast(scaler, outlook && outlook.forecast)}

  # What only goes on is no news.
  defp decided(%{book: book, pool: pool} = scaling, decision) do
    {new?, journal} = Journal.write(scaling.journal, book, pool, decision)
    rules = Decision.limited_by(decision)
    news = if new? and (rules != [] or Decision.move(decision) != :none), do: [event(decision, rules)], else: []
    {news, %{scaling | journal: journal}}
  end

  defp event(decision, rules) do
    {:scaled, %{from: decision.size, to: decision.wanted}, %{limited_by: rules, decision: Decision.to_map(decision)}}
  end

  defp record(%{book: book, pool: pool, recorder: recorder} = scaling, decision),
    do: %{scaling | recorder: Recorder.tell(recorder, book, pool, decision)}

  defp learn(%{book: book, pool: pool, policy: policy} = scaling, decision),
    do: %{scaling | outlook: Outlook.learn(scaling.outlook, book, pool, decision, policy)}

  # Aside ------------------------------------------------------------------------------------------------------------------

  defp review(%{outlook: outlook, policy: policy} = scaling, now) do
    if Outlook.due?(outlook, policy, now) and not busy?(scaling, :review) and
         not Degradation.Notes.sheds?(scaling.book, :background) do
      history = outlook.history
      aside(%{scaling | outlook: %{outlook | reviewed: now}}, :review, fn -> Forecast.review(history, policy) end)
    else
      scaling
    end
  end

  defp sample(%{policy: policy, book: book} = scaling, config, counts, workers) do
    if Samples.needed?(policy) and not busy?(scaling, :sample) do
      aside(scaling, :sample, fn -> Samples.take(policy, Notes.status(book, config, counts), workers) end)
    else
      scaling
    end
  end

  # Who died at it has said nothing, and is as good as done.
  defp busy?(%{aside: aside}, kind), do: is_map_key(aside, kind) and Process.alive?(aside[kind])

  defp aside(scaling, kind, fun) do
    foreman = self()
    pid = spawn_link(fn -> send(foreman, {:scaling, kind, fun.()}) end)
    %{scaling | aside: Map.put(scaling.aside, kind, pid)}
  end

  @doc "What was done aside."
  @spec told(t | nil, atom, term) :: t | nil
  def told(nil, _kind, _late), do: nil

  def told(scaling, :sample, readings) do
    now = System.monotonic_time(:millisecond) + scaling.offset
    %{scaling | samples: %Samples{at: now, readings: readings}}
  end

  def told(%{book: book, pool: pool, policy: policy} = scaling, :review, forecast),
    do: %{scaling | outlook: Outlook.reviewed(scaling.outlook, book, pool, forecast, policy)}

  # Looking ----------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Pool.explain/1`."
  @spec explain(:ets.tid(), Config.t()) :: map
  def explain(book, %{name: pool, scaling: policy}) do
    %{
      scaling: policy != nil,
      size: size(book, pool),
      forecast: if(policy && policy.forecast != :off, do: Outlook.last(book, pool)),
      decisions: for(entry <- Journal.read(book, pool), do: explained(entry))
    }
  end

  defp size(book, pool) do
    case :ets.lookup(book, {:pool_scaling, pool}) do
      [{_key, %{size: size}}] -> size
      [] -> nil
    end
  end

  defp explained({decision, since, times}) do
    decision
    |> Decision.to_map()
    |> Map.merge(%{since: since, times: times, explanation: Decision.explain(decision)})
  end
end
