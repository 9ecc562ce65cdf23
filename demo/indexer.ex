defmodule Demo.Indexer do
  # An agent that holds one shard of the index: what it has merged, and the keys of that, so that nothing is merged twice.
  # Knows neither files nor other agents.
  @moduledoc false
  use Kantoku.Agent

  alias Demo.{Extractor, Tally}

  defstruct tally: %Tally{}, floor: 1, merged: %{}

  @typedoc """
  `merged` are the keys by pass. Every key of a pass below `floor` is merged somewhere, so that none of these need be remembered.
  """
  @type t :: %__MODULE__{tally: Tally.t(), floor: pos_integer, merged: %{pos_integer => MapSet.t()}}

  @type action :: {:merge, Extractor.key(), floor :: pos_integer, Tally.t()} | :read

  @impl true
  def new(_args), do: %__MODULE__{}

  @impl true
  def cmd(agent, :read), do: {agent, [{:reply, agent.tally}]}

  def cmd(agent, {:merge, {pass, file, part}, floor, tally}) do
    if merged?(agent, pass, {file, part}),
      do: {agent, [{:reply, :refused}]},
      else: {agent |> merge(tally) |> remember(pass, {file, part}) |> forget(floor), [{:reply, :merged}]}
  end

  def cmd(agent, {:fault, kind, instance}) do
    Demo.Fault.strike(kind, instance)
    {agent, []}
  end

  defp merged?(%{floor: floor}, pass, _part) when pass < floor, do: true
  defp merged?(%{merged: merged}, pass, part), do: is_map_key(merged, pass) and part in merged[pass]

  defp merge(agent, tally), do: %{agent | tally: Tally.merge(agent.tally, tally)}

  defp remember(%{merged: merged} = agent, pass, part),
    do: %{agent | merged: Map.update(merged, pass, MapSet.new([part]), &MapSet.put(&1, part))}

  defp forget(%{floor: floor} = agent, reached) when reached <= floor, do: agent

  defp forget(%{merged: merged} = agent, reached) do
    %{agent | floor: reached, merged: Map.filter(merged, fn {pass, _parts} -> pass >= reached end)}
  end
end
