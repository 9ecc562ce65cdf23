defmodule Demo.Operator do
  # What a person on call would do when all is handed out and the rest waits for agents that are parked: calls them back. Before that
  # nobody interferes with back-off and parking.
  @moduledoc false

  alias Demo.{Fleet, Gauges, Tally}

  @look 20

  @doc "Tries every shard that is away now, in place of when its timer says; and all agents of a kind of which none is up."
  @spec call_back(Fleet.t()) :: :ok
  def call_back(%{instance: instance} = fleet) do
    for kind <- Map.keys(fleet.sizes), kind == :index or Kantoku.count(instance, capability: kind) == 0 do
      for id <- Fleet.ids(fleet, kind), Kantoku.whereis(instance, id) == nil, do: call_back(fleet, id)
    end

    :ok
  end

  defp call_back(%{instance: instance}, id) do
    if Kantoku.unpark(instance, id) == :ok, do: Gauges.add(instance, :called_back)
  end

  @doc "The whole index, shard by shard."
  @spec gather(Fleet.t()) :: Tally.t()
  def gather(fleet) do
    fleet |> Fleet.ids(:index) |> Enum.reduce(%Tally{}, &Tally.merge(&2, read(fleet, &1)))
  end

  defp read(fleet, id) do
    case fleet.crew.tally(fleet.instance, id) do
      {:ok, tally} ->
        tally

      {:error, _away} ->
        call_back(fleet, id)
        Process.sleep(@look)
        read(fleet, id)
    end
  end
end
