defmodule Kantoku.Api.Route.Agent do
  # One agent: what it is, why it does not serve, what it uses, and what became of it.
  @moduledoc false
  @behaviour Kantoku.Api.Route
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Api.{Described, Params, Shown, Timeline}
  alias Kantoku.Domain.Rows
  alias Kantoku.{Agents, Entry, Registry, Resources}

  # For what its process has to say itself, in ms.
  @patience 500

  @impl true
  def answer(instance, params) do
    case Params.key(params, "key") do
      {:ok, {:term, id}} -> with {:ok, _context, row} <- Agents.find(instance, id), do: agent(instance, id, row)
      {:ok, nil} -> {:error, Params.refusal("key", "the key of an agent")}
      {:error, refusal} -> {:error, refusal}
    end
  end

  defp agent(instance, id, row) do
    with {:ok, reasons} <- Kantoku.why(instance, id) do
      {:ok,
       %{
         agent: Map.merge(row(instance, row), entry(instance, id)),
         why: Enum.map(reasons, &reason/1),
         resources: resources(instance, id),
         timeline: Timeline.of(Shown.text(instance), Shown.key(id) || "")
       }}
    end
  end

  defp row(instance, row(pid: pid, incarnation: incarnation) = row) do
    instance
    |> Described.one(row, Described.figures(if(is_pid(pid), do: [pid], else: [])))
    |> Map.merge(%{restart: Rows.restart(row), incarnation: incarnation, pid: Shown.text_or_nil(pid)})
  end

  @nothing %{tags: [], capabilities: [], metadata: %{}, region: nil, status: nil, load: nil}

  # What it is found by. An agent that is down is found by nothing.
  defp entry(instance, id) do
    case Registry.entry(instance, id) do
      {:ok, %Entry{} = entry} -> described(entry)
      :error -> @nothing
    end
  end

  defp described(entry) do
    %{
      tags: Enum.map(entry.tags, &Shown.text/1),
      capabilities: Enum.map(entry.capabilities, &Shown.text/1),
      metadata: Shown.texts(entry.metadata),
      region: Shown.text_or_nil(entry.region),
      status: Shown.text_or_nil(entry.status),
      load: entry.load
    }
  end

  defp reason(why) do
    %{
      reason: why.reason,
      text: why.text,
      since: Shown.seconds(why.since),
      evidence: Shown.texts(why.evidence),
      lift: lift(why.lift)
    }
  end

  defp lift(nil), do: nil
  defp lift({module, function, args}), do: "#{inspect(module)}.#{function}(#{Enum.map_join(args, ", ", &inspect/1)})"

  defp resources(instance, id) do
    case Resources.of(instance, id, @patience) do
      {:ok, figures} -> figures
      {:error, _down_or_busy} -> nil
    end
  end
end
