defmodule Kantoku.Health.Crashes do
  # Whether an agent that is up crashes faster and faster, and when its budget would be spent. Pure; times are in ms.
  @moduledoc false

  alias Kantoku.Domain.Policy
  alias Kantoku.Health.{Outlook, Trend}

  # Fewer say nothing of how it goes on.
  @least 4

  @doc """
  From the times of its crashes within the budget's window, newest first. At risk is whose crashes come closer together, of whom half the
  budget is spent, and who has not been up for twice as long as between them.
  """
  @spec risk([integer], Policy.t(), now :: integer, horizon :: pos_integer) :: Outlook.risk() | nil
  def risk(_times, %{budget: %{crashes: :infinity}}, _now, _horizon), do: nil
  def risk(_times, %{on_exhausted: :escalate}, _now, _horizon), do: nil

  def risk(times, %{budget: %{crashes: budget, within: within}}, now, horizon) do
    times = Enum.take_while(times, &(&1 > now - within))
    count = length(times)
    if count >= @least and count * 2 >= budget, do: accelerating(times, count, budget, now, horizon)
  end

  defp accelerating([last | _] = times, count, budget, now, horizon) do
    gaps = times |> Enum.zip(tl(times)) |> Enum.map(fn {later, earlier} -> later - earlier end)
    gap = gaps |> Enum.take(3) |> Trend.median()
    # One crash more than the budget parks it.
    left = round(max((budget - count + 1) * gap - (now - last), 0))
    closer? = Trend.slope(Enum.zip(count..2//-1, gaps)) <= 0

    if closer? and now - last <= 2 * gap and left <= horizon,
      do: %{in: left, value: count, limit: budget, rise: 1_000 / max(gap, 1)}
  end
end
