defmodule Kantoku.Health.Action do
  # What is done about an agent that fails its liveness: it is killed, and its domain does what it does about any crash, back-off and
  # parking included. Not if it is not that process any more, is to be stopped, or has got on meanwhile. Finds nobody ill.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Launch, Rows}
  alias Kantoku.Engine.Health
  alias Kantoku.Health.Board
  alias Kantoku.Instances

  @doc "Kills an agent for what was found, if the policy lets; whether it did."
  @spec restart(atom, :ets.tid(), {term, Health.node_handle(), pid}, probe :: term, evidence :: term) :: boolean
  def restart(instance, board, {id, node, pid}, probe, evidence) do
    {rows, _book} = Instances.tables!(instance)
    row = Rows.get(rows, id)

    if Board.config(board).restart and now_stuck?(row, pid) and still?(instance, node, evidence) do
      Launch.emit(instance, [:health, :restarting], %{}, row, id: id, probe: probe, evidence: evidence)
      Process.exit(pid, :kill)
    else
      false
    end
  end

  defp now_stuck?(row(pid: pid, wanted: true), pid), do: Process.alive?(pid)
  defp now_stuck?(_row, _pid), do: false

  # Of what it says itself the last word counts.
  defp still?(instance, node, %{over: _then}) do
    case Health.health_status(instance, node, nil) do
      {_state, _age, _counts, _probes, {_since, over}} when is_integer(over) -> over > 0
      _other -> false
    end
  end

  defp still?(_instance, _node, _evidence), do: true
end
