defmodule Bench.Names do
  @moduledoc false
  # The registry's benchmarks: which stages there are, and what is played on each.
  @behaviour Bench.Suite

  alias Bench.{Options, Stage}
  alias Bench.Names.{Find, FindPopulation, Lifecycle, Lookup, Population, Register}

  # Never fewer, not even in a quick run: the densities of tags are those of this many.
  @described 100_000

  @impl true
  def name, do: "registry"

  @impl true
  def stages(options) do
    for({size, shape} <- populations(options), do: populated(size, shape, options)) ++
      [
        %Stage{
          build: fn -> Population.open(options, System.schedulers_online()) end,
          clear: &Population.clear/1,
          items: Register.items(options) ++ Lifecycle.items(options)
        },
        %Stage{
          build: fn -> FindPopulation.build(@described, options) end,
          clear: &FindPopulation.clear/1,
          items: Find.items(options)
        }
      ]
  end

  defp populations(options) do
    small = Options.size(options, 100_000, 10_000)
    large = Options.size(options, 1_000_000, 100_000)
    [{small, :binary}, {small, :tuple}, {large, :binary}, {large, :tuple}]
  end

  defp populated(size, shape, options) do
    %Stage{
      build: fn -> Population.build(size, shape, options) end,
      clear: &Population.clear/1,
      items: Lookup.items(size, shape, options)
    }
  end
end
