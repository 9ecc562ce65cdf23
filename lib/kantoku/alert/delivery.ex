defmodule Kantoku.Alert.Delivery do
  # One attempt to tell a sink of alerts, in a process of its own. Knows no queue.
  @moduledoc false

  alias Kantoku.Alert
  alias Kantoku.Alert.{HTTP, Sink}
  alias Kantoku.JSON

  require Logger

  @version 1

  # Alertmanager takes for resolved what it was not told of for so many times `:resend`, as Prometheus has it.
  @patience 4

  @type result :: :ok | {:refused, term} | {:error, term}

  @doc "Tells of some alerts; whatever goes wrong, says so without the secrets of the sink."
  @spec attempt(Sink.t(), atom, client :: pid | nil, [Alert.t(), ...]) :: result
  def attempt(sink, instance, client, alerts) do
    tell(sink, instance, client, alerts)
  catch
    :error, error -> {:error, {:crashed, Map.get(Exception.normalize(:error, error, __STACKTRACE__), :__struct__)}}
    kind, _reason -> {:error, kind}
  end

  defp tell(%{kind: :alertmanager, options: options}, _instance, client, alerts) do
    until = System.system_time(:millisecond) + @patience * options.resend
    body = Enum.map(alerts, &for_alertmanager(&1, until, options.generator_url))
    HTTP.post(client, options, "/api/v2/alerts", JSON.encode(body))
  end

  defp tell(%{kind: :webhook, options: options}, instance, client, alerts) do
    body = %{version: @version, instance: Alert.Condition.text(instance), alerts: Enum.map(alerts, &for_webhook/1)}
    HTTP.post(client, options, "", JSON.encode(body))
  end

  defp tell(%{kind: :function, options: %{run: fun}}, _instance, _client, [alert]) do
    fun.(alert)
    :ok
  end

  defp tell(%{kind: :logger, options: %{level: level}}, instance, _client, [alert]) do
    level = if alert.state == :firing, do: level, else: :info
    Logger.log(level, fn -> "Kantoku, #{inspect(instance)}: #{Alert.sentence(alert)}" end)
  end

  defp for_alertmanager(alert, until, link) do
    told = %{
      labels: alert.labels,
      annotations: annotations(alert),
      startsAt: time(alert.fired_at),
      endsAt: time(alert.resolved_at || until)
    }

    if link, do: Map.put(told, :generatorURL, link), else: told
  end

  defp for_webhook(alert) do
    %{
      status: alert.state,
      labels: alert.labels,
      annotations: annotations(alert),
      startsAt: time(alert.fired_at),
      endsAt: alert.resolved_at && time(alert.resolved_at)
    }
    |> Map.update!(:status, &Atom.to_string/1)
  end

  defp annotations(alert), do: %{summary: alert.summary, value: Alert.Condition.text(alert.value)}

  defp time(ms), do: ms |> DateTime.from_unix!(:millisecond) |> DateTime.to_iso8601()
end
