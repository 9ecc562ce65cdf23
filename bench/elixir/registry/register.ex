defmodule Bench.Names.Register do
  @moduledoc false
  # Taking a name and giving it back, by processes that live on.

  alias Bench.{Callers, Comparison, Options, Side}
  alias Bench.Names.Loops

  @keys 100

  @spec items(Options.t()) :: [Comparison.t(), ...]
  def items(options) do
    [
      comparison("register.registry", 1, :standing, options),
      comparison("register.registry.single", 1, :none, options),
      comparison("register.registry.parallel", System.schedulers_online(), :standing, options)
    ]
  end

  defp comparison(name, owners, other, options) do
    %Comparison{
      name: name,
      unit: "pairs/s",
      better: :higher,
      ours: side(:ours, "Kantoku.Registry", owners, other, options),
      theirs: side(:theirs, "Registry (#{System.schedulers_online()} partitions)", owners, other, options)
    }
  end

  defp side(side, module, owners, other, options) do
    holding = if other == :standing, do: "each holding another name all along", else: "holding no other name"
    millis = Options.size(options, 500, 150)

    %Side{
      does: "#{module}.register/3 and unregister/2 in turn, #{owners} looping owner(s) #{holding}",
      round: fn stage -> Callers.rate(owners, millis, &start(side, stage, &1, other), &batch(side, &1)) end
    }
  end

  defp start(side, stage, index, other) do
    registry = if side == :ours, do: stage.ours, else: stage.theirs
    if other == :standing, do: hold(side, registry, {:standing, index})
    {registry, Enum.map(1..@keys, &"owner:#{index}:#{&1}")}
  end

  defp batch(side, {registry, keys} = state) do
    :ok = Loops.register_pairs(side, registry, keys)
    {@keys, state}
  end

  defp hold(:ours, registry, key), do: {:ok, _} = Kantoku.Registry.register(registry, key, nil)
  defp hold(:theirs, registry, key), do: {:ok, _} = Registry.register(registry, key, nil)
end
