defmodule Bench.Lifecycle.Start do
  @moduledoc false
  # Starting supervised, registered agents.

  alias Bench.{Callers, Comparison, Options, Side}
  alias Bench.Lifecycle.{Fleet, Plain}

  @spec items(Options.t()) :: [Comparison.t(), ...]
  def items(options) do
    for starters <- [1, 8] do
      comparison("start.dynamic_supervisor", starters, :ours, "Kantoku.start_agent/3 of a GenServer", options)
    end ++
      for starters <- [1, 8] do
        comparison(
          "start.data_agent",
          starters,
          :data,
          "Kantoku.start_agent/3 of a data agent that is remembered",
          options
        )
      end
  end

  defp comparison(name, starters, side, does, options) do
    count = Options.size(options, 8_000, 1_600)
    each = div(count, starters)
    peer = "DynamicSupervisor.start_child/2 of a GenServer named by {:via, Registry, ...}"

    %Comparison{
      name: name,
      variant: "#{starters}starters",
      unit: "starts/s",
      better: :higher,
      ours: %Side{does: "#{does}; #{starters} starter(s), #{count} starts", round: &start(side, &1, starters, each)},
      theirs: %Side{does: peer, round: &start(:theirs, &1, starters, each)}
    }
  end

  defp start(side, stage, starters, each) do
    nanoseconds = Callers.elapsed(starters, &start_all(side, stage, &1, each))
    agree!(side, stage, starters, each)
    empty(side, stage, starters, each)
    starters * each * 1.0e9 / nanoseconds
  end

  defp start_all(side, stage, starter, each), do: Enum.each(1..each, &start_one(side, stage, {starter, &1}))

  defp start_one(:ours, %{fleet: fleet}, id), do: Fleet.start(fleet, id)
  defp start_one(:data, %{fleet: fleet}, id), do: Fleet.start_data(fleet, id)
  defp start_one(:theirs, %{plain: plain}, id), do: Plain.start(plain, id)

  # A start only counts if the name leads to a living process.
  defp agree!(side, stage, starters, each) do
    for starter <- 0..(starters - 1), number <- [1, each] do
      pid = whereis(side, stage, {starter, number})
      true = is_pid(pid) and Process.alive?(pid)
    end
  end

  defp whereis(:theirs, %{plain: plain}, id), do: Plain.whereis(plain, id)
  defp whereis(_ours, %{fleet: fleet}, id), do: Fleet.whereis(fleet, id)

  defp empty(:theirs, %{plain: plain}, _starters, _each), do: Plain.empty(plain)

  defp empty(_ours, %{fleet: fleet}, starters, each) do
    Fleet.empty(fleet, for(starter <- 0..(starters - 1), number <- 1..each, do: {starter, number}))
  end
end
