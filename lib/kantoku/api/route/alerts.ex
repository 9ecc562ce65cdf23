defmodule Kantoku.Api.Route.Alerts do
  # The alerts of an instance: firing ones first.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Alert
  alias Kantoku.Alert.Condition
  alias Kantoku.Api.Shown

  @most 500

  @impl true
  def answer(instance, _params) do
    case Alert.list(instance) do
      {:ok, alerts} -> {:ok, %{alerts: alerts |> Enum.take(@most) |> Enum.map(&alert/1), total: length(alerts)}}
      {:error, %{reason: :not_found}} -> {:ok, %{alerts: [], total: 0}}
      {:error, error} -> {:error, error}
    end
  end

  defp alert(alert) do
    %{
      name: Shown.text(alert.name),
      severity: alert.severity,
      state: alert.state,
      since: Shown.seconds(alert.fired_at || alert.since),
      resolved_at: Shown.seconds(alert.resolved_at),
      summary: alert.summary,
      value: Shown.text(Condition.text(alert.value)),
      labels: alert.labels
    }
  end
end
