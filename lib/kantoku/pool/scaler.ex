defmodule Kantoku.Pool.Scaler do
  @moduledoc """
  How many workers a pool should have: one pure step from what is seen to what is wanted.

  The step is that of Kubernetes' Horizontal Pod Autoscaler, rule by rule, so that its documentation explains this one. It has
  no process and no clock: `decide/4` takes the time as an argument (ms, of any clock that does not go back; with a forecast,
  its history's) and returns a `Kantoku.Pool.Scaler.Decision` and the state for the next step. Whatever ticks, ticks; windows
  and periods are ms of that clock, so a pool that is asked ten times a second and one that is asked every seven seconds come
  to the same size.

      iex> alias Kantoku.Pool.Scaler
      iex> policy = Scaler.Policy.new!(max: 20, metrics: [utilization: 0.5], look_back: 0)
      iex> {decision, _state} = Scaler.decide(Scaler.new(), policy, %{size: 4, ready: 4, metrics: %{utilization: 0.9}}, 0)
      iex> decision.wanted
      8

  ## The rules, in order

  1. **Metrics.** Each says `ceil(size * reading / target)`; the largest counts. Within the tolerance of what is there: no
     move. The workers needed are averaged over `look_back`, not the readings: a mean reading from when the pool was smaller
     would make it grow twice for one cause.
  2. **Missing readings count against the move.** Workers without a reading are taken to use 100 % of the target when the rest
     says fewer, and 0 % when it says more; a metric that cannot be read at all forbids that the pool shrinks.
  3. **Forecast.** If it is active it is one more metric, which can only make the largest wish larger.
  4. **Stabilization.** To grow, the least wish of the window counts; to shrink, the greatest.
  5. **Policies.** At most so many percent or workers within a period.
  6. **Cool-down.** No change too soon after the last.
  7. **Quotas.** No growth where a quota, not the workers, is what holds work back (`Kantoku.Pool.Scaler.Headroom`).
  8. **Bounds.** Between `min` and `max`, whatever else was said.

  After a pool grew it does not shrink within `scale_down: [stabilization: _]`, and after it shrank it does not grow within
  `scale_up: [stabilization: _]`, but for new bounds.
  """

  alias Kantoku.Pool.Forecast
  alias Kantoku.Pool.Scaler.{Decision, LookBack, Policy, Rates, Window, Wish}

  defstruct pasts: %{}, up: Window.new(:min), down: Window.new(:max), changes: [], last_change: nil, forecast: nil

  @typedoc "What a scaler remembers, which is bounded by its policy. Only `forecast` is of use outside."
  @type t :: %__MODULE__{
          pasts: %{atom => struct},
          up: struct,
          down: struct,
          changes: list,
          last_change: integer | nil,
          forecast: nil | Forecast.t()
        }

  @typedoc """
  What is seen of a pool. `size`: workers that it has or is starting, as last decided; `ready`: those that take work;
  `metrics`: by name, a number, `{number, how many ready workers it is the mean of}`, or `nil` (see
  `Kantoku.Pool.Scaler.Policy` for units). `headroom` (default `:infinity`): how many more workers quotas leave work for;
  `limited_by` (default `nil`): the quota that leaves least, or that refuses requests now (`:quota`, which is a headroom of
  0).

  Further metrics may stand there and are kept in the decision: `:arrival_rate` (requests/s) and `:service_time` (ms) are what
  a replay needs.
  """
  @type observation :: %{
          required(:size) => non_neg_integer,
          required(:ready) => non_neg_integer,
          required(:metrics) => %{atom => number | {number, non_neg_integer} | nil},
          optional(:headroom) => non_neg_integer | :infinity,
          optional(:limited_by) => nil | atom
        }

  @doc "A scaler that remembers nothing yet."
  @spec new() :: t
  def new, do: %__MODULE__{}

  @doc """
  Gives the scaler a forecast, in shadow or active as its backtest has it, or takes it away (`nil`). The caller keeps the
  history it is made from, so that it outlives the scaler (`Kantoku.Pool.Forecast`).

      iex> Kantoku.Pool.Scaler.put_forecast(Kantoku.Pool.Scaler.new(), nil) == Kantoku.Pool.Scaler.new()
      true
  """
  @spec put_forecast(t, nil | Forecast.t()) :: t
  def put_forecast(state, forecast), do: %{state | forecast: forecast}

  @doc """
  The size that is wanted at `now` (ms), and why. The state takes for granted that the decision is carried out.

      iex> alias Kantoku.Pool.Scaler
      iex> policy = Scaler.Policy.new!(max: 20, metrics: [ongoing: 1], look_back: 0)
      iex> {first, state} = Scaler.decide(Scaler.new(), policy, %{size: 6, ready: 6, metrics: %{ongoing: 9}}, 0)
      iex> {later, _state} = Scaler.decide(state, policy, %{size: 9, ready: 9, metrics: %{ongoing: 2}}, 60_000)
      iex> {first.wanted, later.wanted, Scaler.Decision.limited_by(later)}
      {9, 9, [:stabilization]}
  """
  @spec decide(t, Policy.t(), observation, integer) :: {Decision.t(), t}
  def decide(state, policy, observation, now) do
    observation = Map.merge(%{headroom: :infinity, limited_by: nil}, observation)
    {wishes, pasts} = wishes(state, policy, observation, now)
    forecast = forecast(state.forecast, observation.size, policy, now)
    {raw, asked} = asked(wishes, forecast, observation.size)
    state = remember(%{state | pasts: pasts}, observation.size, raw, now, policy)
    {wanted, limited} = limited(raw, state, policy, observation, now)
    decision = decision(observation, wanted, wishes, forecast, asked ++ limited, now)
    {decision, changed(state, decision, policy)}
  end

  defp wishes(state, policy, observation, now) do
    Enum.map_reduce(policy.metrics, %{}, fn metric, pasts ->
      {wish, past} = Wish.of(metric, observation, Map.get(state.pasts, metric.name, %LookBack{}), now, policy)
      {wish, Map.put(pasts, metric.name, past)}
    end)
  end

  defp forecast(nil, _size, _policy, _now), do: nil

  defp forecast(forecast, size, policy, now) do
    case Forecast.needs(forecast, now) do
      nil -> nil
      needs -> %{mode: forecast.mode, needs: needs, wish: needs |> Wish.sized(size, policy) |> elem(0)}
    end
  end

  # The first three rules: what is asked for, before anything holds it back.
  defp asked(wishes, forecast, size) do
    metrics = for(%{wish: wish} when wish != nil <- wishes, do: wish) |> Enum.max(fn -> size end)
    known = if Enum.any?(wishes, &(&1.verdict == :missing)), do: max(metrics, size), else: metrics
    raw = if match?(%{mode: :active}, forecast), do: max(known, forecast.wish), else: known
    {raw, [step(:metrics, size, metrics), step(:missing, metrics, known), step(:forecast, known, raw)]}
  end

  # As HPA does: the first window begins with the size that is found.
  defp remember(%{up: %{kept: []}} = state, size, raw, now, policy) do
    remember(
      %{state | up: Window.add(state.up, now, size, 1), down: Window.add(state.down, now, size, 1)},
      size,
      raw,
      now,
      policy
    )
  end

  defp remember(state, _size, raw, now, policy) do
    up = Window.add(state.up, now, raw, policy.scale_up.stabilization)
    %{state | up: up, down: Window.add(state.down, now, raw, policy.scale_down.stabilization)}
  end

  defp limited(raw, state, policy, observation, now) do
    rules = [
      stabilization: &stabilized(&1, observation.size, state, policy),
      policies: &paced(&1, observation.size, state, policy, now),
      cooldown: &rested(&1, observation.size, state, policy, now),
      quota: &within_quota(&1, observation),
      bounds: &bounded(&1, policy)
    ]

    {steps, wanted} =
      Enum.map_reduce(rules, raw, fn {rule, apply}, from ->
        {to, why} = apply.(from)
        {step(rule, from, to, why), to}
      end)

    {wanted, steps}
  end

  defp stabilized(_from, size, state, policy) do
    {least_at, least} = Window.extreme(state.up)
    {greatest_at, greatest} = Window.extreme(state.down)

    cond do
      size < least -> {least, %{at: least_at, window: policy.scale_up.stabilization}}
      size > greatest -> {greatest, %{at: greatest_at, window: policy.scale_down.stabilization}}
      true -> {size, %{at: if(least < size, do: greatest_at, else: least_at), window: held(least, size, policy)}}
    end
  end

  defp held(least, size, policy) when least < size, do: policy.scale_down.stabilization
  defp held(_least, _size, policy), do: policy.scale_up.stabilization

  defp paced(from, size, _state, _policy, _now) when from == size, do: {from, %{}}

  defp paced(from, size, state, policy, now) when from > size do
    {limit, which} = Rates.limit(:up, size, policy.scale_up, state.changes, now)
    {min(from, limit), %{limit: limit, policy: which, bound: "at most"}}
  end

  defp paced(from, size, state, policy, now) do
    {limit, which} = Rates.limit(:down, size, policy.scale_down, state.changes, now)
    {max(from, limit), %{limit: limit, policy: which, bound: "at least"}}
  end

  defp rested(from, size, %{last_change: last}, _policy, _now) when from == size or last == nil, do: {from, %{}}

  defp rested(from, size, %{last_change: last}, policy, now) do
    rest = if from > size, do: policy.cooldown.up, else: policy.cooldown.down
    if now - last < rest, do: {size, %{last: last, rest: rest}}, else: {from, %{}}
  end

  defp within_quota(from, %{size: size} = observation) when from > size do
    case headroom(observation) do
      :infinity -> {from, %{}}
      headroom -> {min(from, size + headroom), %{headroom: headroom, limited_by: observation.limited_by || :quota}}
    end
  end

  defp within_quota(from, _observation), do: {from, %{}}

  defp headroom(%{limited_by: :quota}), do: 0
  defp headroom(%{headroom: headroom}), do: headroom

  defp bounded(from, policy), do: {from |> max(policy.min) |> min(policy.max), %{min: policy.min, max: policy.max}}

  defp step(rule, from, to, why \\ %{}), do: %{rule: rule, from: from, to: to, why: why}

  defp decision(observation, wanted, wishes, forecast, steps, now) do
    needs = for(%{needs: needs} when needs != nil <- wishes, do: needs) |> Enum.max(fn -> nil end)

    %Decision{
      at: now,
      observation: observation,
      size: observation.size,
      wanted: wanted,
      wishes: wishes,
      forecast: forecast,
      needs: needs,
      steps: steps
    }
  end

  defp changed(state, %Decision{size: size, wanted: size}, _policy), do: state

  defp changed(state, decision, policy) do
    changes = Rates.change(state.changes, decision.at, decision.wanted - decision.size, policy)
    %{state | changes: changes, last_change: decision.at}
  end
end
