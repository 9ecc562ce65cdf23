defmodule Kantoku.Pool.Scaler.Decision do
  @moduledoc """
  What a scaler decided, as a value: what it saw, what each metric wished for and by which formula, what each rule made of it, and
  the size that came out. It can be read by people (`explain/1`), stored (`to_map/1`, `Kantoku.Pool.Recording`) and replayed.

      iex> alias Kantoku.Pool.Scaler
      iex> policy = Scaler.Policy.new!(max: 20, metrics: [ongoing: 2], look_back: 0)
      iex> {decision, _state} = Scaler.decide(Scaler.new(), policy, %{size: 4, ready: 4, metrics: %{ongoing: 12}}, 0)
      iex> decision |> Scaler.Decision.explain() |> String.split("\\n")
      [
        "at 0 ms: 4 workers, 4 ready -> 6 (up)",
        "  ongoing: ceil(12 / 2) = 6 workers, ratio 1.50",
        "  policies: 6, at most 8 by percent 100 in 15000 ms"
      ]
  """

  alias Kantoku.Pool.Scaler.Wish

  @enforce_keys [:at, :observation, :size, :wanted, :wishes, :forecast, :needs, :steps]
  defstruct @enforce_keys

  @typedoc """
  What one rule did: from which number of workers to which, and its `why`, whose keys depend on the rule. Rules, in order:
  `:metrics` (the largest wish), `:missing`, `:forecast`, `:stabilization`, `:policies`, `:cooldown`, `:quota`, `:bounds`.
  """
  @type step :: %{rule: atom, from: non_neg_integer, to: non_neg_integer, why: map}

  @typedoc "`needs`: in workers; `mode` `:shadow`: told, and not counted."
  @type forecast :: %{mode: :shadow | :active, needs: float, wish: non_neg_integer}

  @typedoc """
  `at` in ms; `size`: before, `wanted`: after; `needs`: what the metrics say is needed, in workers, which is what a history keeps
  (`nil`: no metric could be read).
  """
  @type t :: %__MODULE__{
          at: integer,
          observation: Kantoku.Pool.Scaler.observation(),
          size: non_neg_integer,
          wanted: pos_integer,
          wishes: [Wish.t()],
          forecast: nil | forecast,
          needs: number | nil,
          steps: [step]
        }

  @doc "Where the size goes."
  @spec move(t) :: :up | :down | :none
  def move(%__MODULE__{size: size, wanted: wanted}) when wanted > size, do: :up
  def move(%__MODULE__{size: size, wanted: wanted}) when wanted < size, do: :down
  def move(_decision), do: :none

  @doc "The rules that changed what the metrics wished for, in order."
  @spec limited_by(t) :: [atom]
  def limited_by(decision), do: for(step <- decision.steps, step.from != step.to, step.rule != :metrics, do: step.rule)

  @doc "The decision in words: a line for the outcome, one for each metric, one for each rule that had a say."
  @spec explain(t) :: String.t()
  def explain(decision) do
    lines = Enum.map(decision.wishes, &wish/1) ++ forecast(decision.forecast) ++ Enum.flat_map(decision.steps, &step/1)
    Enum.map_join([head(decision) | lines], "\n", & &1)
  end

  @doc """
  The decision as plain maps, lists, numbers, strings and atoms, for a log, an event or JSON.

      iex> alias Kantoku.Pool.Scaler
      iex> policy = Scaler.Policy.new!(max: 5, metrics: [ongoing: 1], look_back: 0)
      iex> {decision, _state} = Scaler.decide(Scaler.new(), policy, %{size: 4, ready: 4, metrics: %{ongoing: 12}}, 0)
      iex> %{wanted: 5, move: :up, limited_by: [:policies, :bounds], metrics: [%{wish: 12}]} = Scaler.Decision.to_map(decision)
  """
  @spec to_map(t) :: map
  def to_map(decision) do
    decision
    |> Map.take([:at, :size, :wanted, :needs, :forecast])
    |> Map.merge(%{
      move: move(decision),
      limited_by: limited_by(decision),
      ready: decision.observation.ready,
      headroom: decision.observation.headroom,
      readings: Map.new(decision.observation.metrics, fn {name, reading} -> {name, plain(reading)} end),
      metrics: Enum.map(decision.wishes, &Map.put(&1, :formula, formula(&1))),
      steps: Enum.map(decision.steps, &%{&1 | why: Map.new(&1.why, fn {key, why} -> {key, plain(why)} end)})
    })
  end

  defp plain({kind, value, [period: period]}), do: %{kind: kind, value: value, period: period}
  defp plain({mean, reported}), do: %{mean: mean, reported: reported}
  defp plain(value), do: value

  defp head(decision) do
    "at #{decision.at} ms: #{decision.size} workers, #{decision.observation.ready} ready -> #{decision.wanted} " <>
      "(#{move(decision)})"
  end

  defp wish(%{verdict: :missing} = wish), do: "  #{wish.metric}: no reading"

  defp wish(wish) do
    "  #{wish.metric}: #{formula(wish)} workers, ratio #{number(wish.ratio)}" <> verdict(wish.verdict)
  end

  defp verdict(:moves), do: ""
  defp verdict(:within_tolerance), do: ", within tolerance"
  defp verdict(:reversed), do: ", no move: workers without a reading would turn it round"

  defp formula(%{verdict: :missing}), do: nil

  defp formula(%{kind: :total} = wish),
    do: shown(wish, wish.reading / wish.target, "#{number(wish.reading)} / #{number(wish.target)}")

  defp formula(%{kind: :mean} = wish) do
    last = wish.reported * wish.reading / wish.target
    shown(wish, last, "#{wish.reported} * #{number(wish.reading)} / #{number(wish.target)}")
  end

  # Where a mean over time counts, the last reading alone does not give the wish.
  defp shown(%{verdict: :moves} = wish, last, terms) when abs(last - wish.needs) < 1.0e-6,
    do: "ceil(#{terms}) = #{wish.wish}"

  defp shown(%{verdict: :moves} = wish, _last, terms),
    do: "ceil(#{number(wish.needs)} needed of late, now #{terms}) = #{wish.wish}"

  defp shown(wish, _last, terms), do: "#{number(wish.needs)} needed of late, now #{terms}: #{wish.wish}"

  defp forecast(nil), do: []

  defp forecast(%{mode: :shadow} = forecast),
    do: ["  forecast: #{number(forecast.needs)} needed soon, would be #{forecast.wish}; in shadow, not counted"]

  defp forecast(%{mode: :active} = forecast),
    do: ["  forecast: #{number(forecast.needs)} needed soon: #{forecast.wish} workers"]

  defp step(%{from: same, to: same, rule: rule}) when rule not in [:policies], do: []
  defp step(%{rule: :metrics}), do: []
  defp step(%{rule: :policies, why: why}) when why == %{}, do: []
  defp step(step), do: ["  #{step.rule}: #{step.to}" <> why(step.rule, step.why)]

  defp why(:missing, _why), do: ", a metric has no reading, so fewer are not asked for"
  defp why(:forecast, _why), do: ", more than the metrics ask for now"
  defp why(:stabilization, why), do: ", as was wished at #{why.at} ms, within the last #{why.window} ms"
  defp why(:policies, %{limit: limit, policy: policy, bound: bound}), do: ", #{bound} #{limit} #{policy(policy)}"
  defp why(:cooldown, why), do: ", the last change was at #{why.last} ms, less than #{why.rest} ms ago"
  defp why(:quota, why), do: ", #{why.limited_by} allows #{why.headroom} more: others would find no work"
  defp why(:bounds, why), do: ", between #{why.min} and #{why.max}"

  defp policy(:disabled), do: "as moves that way are disabled"
  defp policy({kind, value, [period: period]}), do: "by #{kind} #{value} in #{period} ms"

  defp number(value) when is_integer(value), do: Integer.to_string(value)
  defp number(value), do: :erlang.float_to_binary(value * 1.0, decimals: 2)
end
