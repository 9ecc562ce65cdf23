defmodule Bench.Pools do
  @moduledoc false
  # The benchmarks of pools against poolboy, and against NimblePool where it is there: at rest, full, and in an open loop.
  @behaviour Bench.Suite

  alias Bench.Pool.{Cells, Nimble, OpenLoop, Rig, Single}
  alias Bench.Stage

  @impl true
  def name, do: "pool"

  @impl true
  def stages(options) do
    peers = peers()
    sized = for size <- Cells.sizes(), do: stage(size, peers, options, Cells.items(size, peers, options))
    [stage(16, peers, options, Single.items(peers, options)) | sized] ++ [open_loop(peers, options)]
  end

  defp peers do
    case Nimble.load() do
      {:ok, version} ->
        IO.puts("  poolboy #{poolboy()}, NimblePool #{version}")
        [:poolboy, :nimble_pool]

      {:error, why} ->
        IO.puts("  poolboy #{poolboy()}; #{why}")
        [:poolboy]
    end
  end

  defp poolboy do
    Application.load(:poolboy)
    Application.spec(:poolboy, :vsn)
  end

  defp stage(size, peers, options, items),
    do: %Stage{build: fn -> Rig.open(size, options, peers) end, clear: &Rig.close/1, items: items}

  defp open_loop(peers, options) do
    %Stage{
      build: fn -> OpenLoop.open(16, options, peers) end,
      clear: &OpenLoop.close/1,
      items: OpenLoop.items(peers, options)
    }
  end
end
