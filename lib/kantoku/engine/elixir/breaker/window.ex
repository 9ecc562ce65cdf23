defmodule Kantoku.Engine.Elixir.Breaker.Window do
  # The outcomes that a breaker judges by: the last so many, or those of the last so many seconds. What is counted is what is there.
  @moduledoc false

  @second 1_000_000_000

  @enforce_keys [:span, :size, :minimum]
  defstruct @enforce_keys ++ [counts: {0, 0, 0}, kept: :queue.new(), last: nil]

  @type counts :: {calls :: non_neg_integer, failed :: non_neg_integer, slow :: non_neg_integer}
  @type t :: %__MODULE__{span: :count_based | :time_based, size: pos_integer, minimum: pos_integer, counts: counts}

  @spec new(Kantoku.Engine.Breakers.config()) :: t
  def new(%{sliding_window_type: :count_based} = config),
    do: of_calls(config.sliding_window_size, config.minimum_number_of_calls)

  def new(%{sliding_window_type: :time_based} = config),
    do: %__MODULE__{
      span: :time_based,
      size: config.sliding_window_size,
      minimum: config.minimum_number_of_calls
    }

  @doc "For the calls by which a breaker tries whether it may close."
  @spec of_trials(Kantoku.Engine.Breakers.config()) :: t
  def of_trials(config),
    do: of_calls(config.permitted_number_of_calls_in_half_open_state, config.minimum_number_of_calls)

  defp of_calls(size, minimum), do: %__MODULE__{span: :count_based, size: size, minimum: min(minimum, size)}

  @spec record(t, failed? :: boolean, slow? :: boolean, now :: integer) :: t
  def record(window, failed?, slow?, now), do: window |> forget(now) |> put({1, one(failed?), one(slow?)}, now)

  defp one(true), do: 1
  defp one(false), do: 0

  defp put(%{span: :count_based, counts: {calls, _, _}, size: size} = window, outcome, _now) do
    window = if calls == size, do: drop(window), else: window
    %{window | kept: :queue.in(outcome, window.kept), counts: add(window.counts, outcome)}
  end

  # The second that runs is apart: {second, counts}.
  defp put(%{last: {last, counts}} = window, outcome, now) do
    second = Integer.floor_div(now, @second)
    window = %{window | counts: add(window.counts, outcome)}

    if second <= last,
      do: %{window | last: {last, add(counts, outcome)}},
      else: %{window | last: {second, outcome}, kept: :queue.in({last, counts}, window.kept)}
  end

  defp put(%{last: nil} = window, outcome, now),
    do: %{window | counts: add(window.counts, outcome), last: {Integer.floor_div(now, @second), outcome}}

  defp drop(window) do
    {{:value, gone}, kept} = :queue.out(window.kept)
    %{window | kept: kept, counts: subtract(window.counts, gone)}
  end

  @doc "Drops what is too old by now."
  @spec forget(t, now :: integer) :: t
  def forget(%{span: :count_based} = window, _now), do: window
  def forget(window, now), do: older(window, Integer.floor_div(now, @second) - window.size)

  defp older(window, oldest) do
    case :queue.peek(window.kept) do
      {:value, {second, counts}} when second <= oldest ->
        older(%{window | kept: :queue.drop(window.kept), counts: subtract(window.counts, counts)}, oldest)

      {:value, _kept} ->
        window

      :empty ->
        last(window, oldest)
    end
  end

  defp last(%{last: {second, counts}} = window, oldest) when second <= oldest,
    do: %{window | last: nil, counts: subtract(window.counts, counts)}

  defp last(window, _oldest), do: window

  @doc "Whether there are enough calls to judge by."
  @spec tells?(t) :: boolean
  def tells?(%{counts: {calls, _failed, _slow}, minimum: minimum}), do: calls >= minimum

  @doc "Whether a rate is reached."
  @spec reached?(t, Kantoku.Engine.Breakers.config()) :: boolean
  def reached?(%{counts: {calls, failed, slow}}, config) do
    failed * 100_000_000 >= config.failure_rate_threshold * calls or
      slow * 100_000_000 >= config.slow_call_rate_threshold * calls
  end

  defp add({a, b, c}, {x, y, z}), do: {a + x, b + y, c + z}
  defp subtract({a, b, c}, {x, y, z}), do: {a - x, b - y, c - z}
end
