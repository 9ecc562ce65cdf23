defmodule Bench.Names.Dispatch do
  @moduledoc false
  # Whether the choice between two engines costs the native path anything.

  alias Bench.{Callers, Comparison, Options, Side, Unchanged}
  alias Bench.Names.{Loops, Population}

  @batch 1_000

  @doc "One decision, and only where the native engine serves."
  @spec items(Options.t()) :: [Unchanged.t()]
  def items(%Options{engine: :elixir}), do: []

  def items(options) do
    [
      %Unchanged{
        comparison: %Comparison{
          name: "lookup.dispatch",
          unit: "ops/s",
          better: :higher,
          ours: side(:engine, "Kantoku.Engine.whereis/2, which chooses the engine", options),
          theirs: side(:native, "Kantoku.Native.whereis/2 itself", options)
        }
      }
    ]
  end

  defp side(side, does, options) do
    millis = Options.size(options, 300, 50)
    %Side{does: does <> "; one looping caller", round: &read(side, &1, millis)}
  end

  defp read(side, population, millis) do
    start = fn _ ->
      {from, all} = Population.keys(population, 0, 1)
      {population.ours, from, all}
    end

    Callers.rate(1, millis, start, &{@batch, Loops.look_up(side, &1, @batch)})
  end
end
