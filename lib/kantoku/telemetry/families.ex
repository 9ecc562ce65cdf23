defmodule Kantoku.Telemetry.Families do
  # What handlers did, as a metric. Runs none.
  @moduledoc false

  alias Kantoku.Metrics.Definition
  alias Kantoku.Telemetry.Handlers

  @name "kantoku_handler_events"
  @help "Events that handlers handled, failed at, or had no room for (dropped)."

  @outcomes [:handled, :failed, :dropped]

  # Handlers with series of their own: whoever names them by processes has more.
  @own 100

  @doc "Of handlers that hear of an instance, or of `:all` there are; none where there are no handlers."
  @spec of(atom) :: [Kantoku.Resources.family()]
  def of(instance) do
    heard = for %{handled: _} = handler <- Handlers.list(), heard?(handler, instance), do: handler

    case heard |> Enum.group_by(&labels/1) |> Enum.map(&together/1) |> capped() do
      [] -> []
      counts -> [%{name: @name, help: @help, unit: nil, kind: :counter, series: Enum.flat_map(counts, &series/1)}]
    end
  end

  defp heard?(_handler, :all), do: true
  defp heard?(%{instance: of}, instance), do: of in [nil, instance]

  defp labels(%{id: id, instance: nil}), do: %{"handler" => Definition.text(id)}
  defp labels(%{id: id, instance: of}), do: %{"handler" => Definition.text(id), "instance" => Definition.text(of)}

  # Ids that are written alike are one.
  defp together({labels, handlers}),
    do: {labels, Map.new(@outcomes, fn outcome -> {outcome, handlers |> Enum.map(& &1[outcome]) |> Enum.sum()} end)}

  defp capped(counts) when length(counts) <= @own, do: counts

  defp capped(counts) do
    {own, rest} = counts |> Enum.sort_by(fn {_labels, counts} -> counts.dropped end, :desc) |> Enum.split(@own - 1)
    own ++ [together({%{"handler" => "other"}, Enum.map(rest, &elem(&1, 1))})]
  end

  defp series({labels, counts}),
    do: for(outcome <- @outcomes, do: %{labels: Map.put(labels, "outcome", "#{outcome}"), value: counts[outcome] * 1.0})
end
