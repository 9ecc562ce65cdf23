defmodule Bench.Pools do
  @moduledoc false
  # The benchmarks of pools against poolboy: at rest, and full.
  @behaviour Bench.Suite

  alias Bench.Pool.{Cells, Rig, Single}
  alias Bench.Stage

  @impl true
  def name, do: "pool"

  @impl true
  def stages(options) do
    [
      stage(16, options, Single.items(options))
      | for(size <- Cells.sizes(), do: stage(size, options, Cells.items(size, options)))
    ]
  end

  defp stage(size, options, items),
    do: %Stage{build: fn -> Rig.open(size, options) end, clear: &Rig.close/1, items: items}
end
