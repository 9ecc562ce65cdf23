defmodule Kantoku.Exporters.Given do
  # What native threads cannot read: what the VM and agents use (`Kantoku.Resources`), what handlers of events did, how objectives, health and stores
  # stand, and what instances of the Elixir engine measured. Read here once in a while, for exporters to have it as of then. Sends nothing.
  @moduledoc false

  alias Kantoku.Engine.Metrics, as: Engine
  alias Kantoku.{Instances, Metrics, Resources, Telemetry}

  @doc "All of that now, each family once."
  @spec families() :: [Engine.family()]
  def families do
    vm = Enum.map(Resources.Families.of_vm(Resources.vm()), &told/1)
    handlers = Enum.map(Telemetry.Families.of(:all), &told/1)
    together(vm ++ handlers ++ Enum.flat_map(Instances.names(), &of_instance/1))
  end

  defp of_instance(instance) do
    used = with {:ok, sums} <- Resources.sums(instance), do: {:ok, Resources.Families.of_instance(instance, sums)}
    measured(instance) ++ Enum.map(Metrics.Standing.of(instance) ++ listed(used), &told/1)
  end

  defp measured(instance) do
    listed(
      Metrics.Board.reading(instance, fn collection, _found ->
        {:ok, if(Engine.native?(collection), do: [], else: Engine.snapshot(collection))}
      end)
    )
  end

  # It may end meanwhile, or not look at its agents.
  defp listed({:ok, families}), do: families
  defp listed({:error, _error}), do: []

  # Whose it is comes first, as in all metrics.
  defp told(%{name: name, help: help, unit: unit, kind: kind, series: series}) do
    series = for %{labels: labels, value: value} <- series, do: {Enum.sort_by(labels, &rank/1), value}
    {name, help, unit, kind, series}
  end

  defp rank({label, _value}), do: {label != "instance", label}

  defp together(families) do
    families
    |> Enum.group_by(fn {name, _help, _unit, kind, _series} -> {name, kind} end)
    |> Enum.map(fn {_like, [{name, help, unit, kind, _series} | _] = alike} ->
      {name, help, unit, kind, Enum.flat_map(alike, &elem(&1, 4))}
    end)
  end
end
