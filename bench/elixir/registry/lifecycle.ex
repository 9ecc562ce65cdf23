defmodule Bench.Names.Lifecycle do
  @moduledoc false
  # Short lives: spawn, take a name, die; until no name is left.

  alias Bench.{Callers, Comparison, Options, Side}

  @spec items(Options.t()) :: [Comparison.t(), ...]
  def items(options) do
    [
      %Comparison{
        name: "lifecycle.registry",
        unit: "lives/s",
        better: :higher,
        ours: side(:ours, "Kantoku.Registry", options),
        theirs: side(:theirs, "Registry (#{spawners()} partitions)", options)
      }
    ]
  end

  defp side(side, module, options) do
    each = div(Options.size(options, 20_000, 5_000), spawners())

    %Side{
      does:
        "#{each * spawners()} processes, spawned by #{spawners()}, each of which takes one name in #{module} and ends; " <>
          "until all are down and count/1 is 0",
      round: &live(side, &1, each)
    }
  end

  defp spawners, do: System.schedulers_online()

  defp live(side, stage, each) do
    registry = if side == :ours, do: stage.ours, else: stage.theirs
    started = Callers.now()
    Callers.elapsed(spawners(), &spawn_all(side, registry, &1, each))
    await_empty(side, registry)
    each * spawners() * 1.0e9 / (Callers.now() - started)
  end

  defp spawn_all(side, registry, index, each) do
    for number <- 1..each, do: spawn_monitor(fn -> {:ok, _} = register(side, registry, {index, number}) end)
    for _ <- 1..each, do: await_end()
  end

  defp await_end do
    receive do
      {:DOWN, _, _, _, :normal} -> :ok
      {:DOWN, _, _, _, reason} -> exit(reason)
    end
  end

  defp await_empty(side, registry) do
    unless count(side, registry) == 0 do
      :erlang.yield()
      await_empty(side, registry)
    end
  end

  defp register(:ours, registry, key), do: Kantoku.Registry.register(registry, key, nil)
  defp register(:theirs, registry, key), do: Registry.register(registry, key, nil)

  defp count(:ours, registry), do: Kantoku.Registry.count(registry)
  defp count(:theirs, registry), do: Registry.count(registry)
end
