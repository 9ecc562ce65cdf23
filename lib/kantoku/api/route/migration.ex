defmodule Kantoku.Api.Route.Migration do
  # What is being moved over to an instance, and how far.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.Migration

  @most 500

  @impl true
  def answer(instance, _params) do
    with {:ok, entries} <- Migration.status(instance),
         do: {:ok, %{flags: entries |> Enum.take(@most) |> Enum.map(&flag/1), total: length(entries)}}
  end

  defp flag(entry) do
    {mode, percent} = mode(entry.mode)

    %{
      name: Shown.text(entry.subject),
      feature: entry.feature,
      mode: mode,
      percent: percent,
      since: Shown.seconds(entry.at),
      state: state(entry),
      agents_old: entry.agents[:old],
      agents_new: entry.agents[:new],
      agreed: entry.shadow.agreed,
      mismatches: entry.shadow.disagreed
    }
  end

  defp mode({:canary, percent}), do: {:canary, percent}
  defp mode(:enforce), do: {:enforce, 100}
  defp mode(mode), do: {mode, 0}

  defp state(%{reversal: reversal}) when reversal != nil, do: :reverted
  defp state(%{agents: %{moving: moving}}) when moving > 0, do: :moving
  defp state(_entry), do: :steady
end
