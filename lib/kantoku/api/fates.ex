defmodule Kantoku.Api.Fates do
  # How many agents at once fare: who is in which state of health, who is stuck, who is at risk of what. From the tables of health and the engine's
  # facts; asks no process, and no agent is looked at of whom nothing was found, but for its state. Where health is off nobody is known.
  @moduledoc false

  alias Kantoku.Engine.Health, as: Core
  alias Kantoku.Health.{Board, Risks}
  alias Kantoku.Instances

  # What an agent shows by itself.
  @passive 0

  @doc "The states of those that health knows."
  @spec states(atom, [id]) :: %{id => Kantoku.Health.state()} when id: term
  def states(instance, ids) do
    on_board(instance, %{}, fn board ->
      for id <- ids,
          {node, _pid, _condition} <- [Board.agent(board, id)],
          {state, _age, _counts, _probes, _pulse} <- [Core.health_status(instance, node, nil)],
          into: %{},
          do: {id, state}
    end)
  end

  @doc "Those that are beyond their limit or wait in a circle, as `Kantoku.why/2` says `:stuck` of them."
  @spec stuck(atom) :: [id :: term]
  def stuck(instance) do
    on_board(instance, [], fn board ->
      for id <- Board.noted(board, @passive),
          {node, _pid, _condition} <- [Board.agent(board, id)],
          {_state, _age, _counts, probes, _pulse} <- [Core.health_status(instance, node, nil)],
          List.keymember?(probes, @passive, 0) and elem(List.keyfind(probes, @passive, 0), 1) == :failing,
          do: id
    end)
  end

  @doc "Those that are at risk, each with the kinds of what: `memory`, `mailbox`, `latency`, `restarts`."
  @spec at_risk(atom) :: [{id :: term, [String.t()]}]
  def at_risk(instance) do
    Instances.reading(instance, fn _rows, book ->
      for {id, signs} <- Risks.all(book), do: {id, Enum.map(signs, &kind/1)}
    end)
  end

  @doc "The kinds of what agents are at risk of."
  @spec kinds() :: [String.t()]
  def kinds, do: ~w(memory mailbox latency restarts)

  defp kind({:latency, _probe}), do: "latency"
  defp kind(sign), do: Atom.to_string(sign)

  defp on_board(instance, none, fun) do
    case Board.reading(instance, fun) do
      found when is_list(found) or (is_map(found) and not is_struct(found)) -> found
      _off_or_ended -> none
    end
  end
end
