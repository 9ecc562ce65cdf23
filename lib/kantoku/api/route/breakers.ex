defmodule Kantoku.Api.Route.Breakers do
  # The breakers of an instance: those that let nothing pass first.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.{Breaker, Metrics}

  # Of so many it is asked how they are, and so many are shown.
  @most_asked 10_000
  @most 500

  @order %{open: 0, forced_open: 0, half_open: 1}

  @impl true
  def answer(instance, _params) do
    {all, total} = all(instance)
    trips = trips(instance)
    shown = all |> Enum.sort_by(fn {name, status} -> {Map.get(@order, status.state, 2), name} end) |> Enum.take(@most)
    {:ok, %{breakers: for({name, status} <- shown, do: breaker(name, status, trips)), total: total}}
  end

  @doc "How many are in which of the three states that matter."
  @spec counts(atom) :: %{open: non_neg_integer, half_open: non_neg_integer, closed: non_neg_integer}
  def counts(instance) do
    {all, _total} = all(instance)
    counts = Enum.frequencies_by(all, fn {_name, status} -> kind(status.state) end)
    Map.merge(%{open: 0, half_open: 0, closed: 0}, counts)
  end

  defp kind(state) when state in [:open, :forced_open], do: :open
  defp kind(:half_open), do: :half_open
  defp kind(_lets_pass), do: :closed

  defp all(instance) do
    case Breaker.names(instance) do
      {:ok, names} ->
        asked =
          for name <- Enum.take(names, @most_asked),
              {:ok, status} <- [Breaker.status({instance, name})],
              do: {Shown.text(name), status}

        {asked, length(asked) + max(length(names) - @most_asked, 0)}

      {:error, _ended_meanwhile} ->
        {[], 0}
    end
  end

  defp breaker(name, status, trips) do
    %{
      name: name,
      state: status.state,
      failures: status.failed,
      slow: status.slow,
      failure_rate: share(status.failure_rate),
      slow_rate: share(status.slow_call_rate),
      calls: status.calls,
      refused: status.refused,
      open_for: if(kind(status.state) == :open, do: Shown.seconds(status.since)),
      trips: Map.get(trips, name, 0)
    }
  end

  defp share(nil), do: nil
  defp share(percent), do: percent / 100

  defp trips(instance) do
    with {:ok, families} <- Metrics.snapshot(instance),
         %{series: series} <- Enum.find(families, &(&1.name == "kantoku_breaker_changes")) do
      for %{labels: %{"breaker" => name, "to" => "open"}, value: value} <- series, into: %{}, do: {name, trunc(value)}
    else
      _none -> %{}
    end
  end
end
