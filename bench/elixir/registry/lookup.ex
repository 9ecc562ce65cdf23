defmodule Bench.Names.Lookup do
  @moduledoc false
  # Look-ups of names that are there: as many as can be done, among readers and writers, and how long a single one
  # takes.

  alias Bench.{Callers, Comparison, Latencies, Measurement, Options, Side}
  alias Bench.Names.{Dispatch, Loops, Population}

  @batch 1_000
  @readers 64
  @churned 1_000
  @timed 100

  @ours "Kantoku.Registry.whereis_name/1, which checks that the owner is alive"
  @theirs "Registry.whereis_name/1 (1 partition, its fastest for reads), which checks that the owner is alive"

  @doc "What is played on a population of that size and shape. The churn is run on binary keys only."
  @spec items(pos_integer, :binary | :tuple, Options.t()) :: [Bench.Stage.item(), ...]
  def items(size, shape, options) do
    variant = "#{label(size)}.#{shape}"
    against_all = [against_registry(variant, options), against_table(variant, options), against_alive(variant, options)]
    against_all ++ if shape == :binary, do: churned(size, options), else: []
  end

  defp churned(size, options) do
    if size == Options.size(options, 1_000_000, 100_000),
      do: [latency(size, options)],
      else: [among_readers(options) | Dispatch.items(options)]
  end

  defp against_registry(variant, options) do
    comparison("lookup.registry", variant, side(:ours, @ours, options), side(:theirs, @theirs, options))
  end

  defp against_table(variant, options) do
    does = "a bare :ets.lookup/2 in one named set with read_concurrency, which does NOT check that the owner is alive"
    comparison("lookup.ets", variant, side(:ours, @ours, options), side(:table, does, options))
  end

  defp against_alive(variant, options) do
    does = ":ets.lookup/2 in one named set with read_concurrency, then Process.alive?/1"
    comparison("lookup.ets_alive", variant, side(:ours, @ours, options), side(:table_alive, does, options))
  end

  defp comparison(name, variant, ours, theirs) do
    %Comparison{name: name, variant: variant, unit: "ops/s", better: :higher, ours: ours, theirs: theirs}
  end

  defp side(side, does, options) do
    readers = System.schedulers_online()
    millis = Options.size(options, 700, 150)
    %Side{does: "#{does}; #{readers} looping callers", round: &read(side, &1, readers, millis)}
  end

  defp read(side, population, readers, millis) do
    registry = registry(side, population)

    start = fn index ->
      {from, all} = Population.keys(population, index, readers)
      {registry, from, all}
    end

    Callers.rate(readers, millis, start, &{@batch, Loops.look_up(side, &1, @batch)})
  end

  defp among_readers(options) do
    comparison(
      "lookup.registry.#{@readers}readers_churn",
      nil,
      among(:ours, @ours, options),
      among(:theirs, @theirs, options)
    )
  end

  defp among(side, does, options) do
    millis = Options.size(options, 1_000, 200)

    beside =
      "; #{@readers} looping callers beside a process that registers and unregisters #{@churned} names without pause"

    %Side{
      does: does <> beside,
      round: fn population ->
        Callers.beside(fn -> churn(side, population) end, fn -> read(side, population, @readers, millis) end)
      end
    }
  end

  # The writer keeps a name all along: a process that registers often is seldom one that has no other name.
  defp churn(side, population) do
    keys = Enum.map(1..@churned, &"churned:#{&1}")
    registry = registry(side, population)
    hold(side, registry, "churner")
    churn_on(side, registry, keys)
  end

  defp churn_on(side, registry, keys) do
    :ok = Loops.register_pairs(side, registry, keys)
    churn_on(side, registry, keys)
  end

  defp hold(:ours, registry, key), do: {:ok, _} = Kantoku.Registry.register(registry, key, nil)
  defp hold(:theirs, registry, key), do: {:ok, _} = Registry.register(registry, key, nil)

  defp latency(size, options) do
    %Measurement{
      name: "lookup.latency.#{label(size)}_churn",
      unit: "µs",
      does:
        "single look-ups among #{label(size)} names, one in a hundred of them a churned one, while a process registers and " <>
          "unregisters #{@churned} names without pause; one reader, which gives up its time slice every #{@timed} look-ups " <>
          "outside the timed part; the cost of reading the clock is included",
      run: &latencies(&1, options)
    }
  end

  defp latencies(population, options) do
    for {side, label} <- [ours: "kantoku", theirs: "registry"], {quantile, value} <- timed(side, population, options) do
      {"#{label}.#{quantile}", value}
    end
  end

  defp timed(side, population, options) do
    latencies = Latencies.new()
    slices = div(Options.size(options, 500_000, 50_000), @timed)
    work = fn -> Callers.elapsed(1, fn _ -> time_slices(side, population, slices, latencies) end) end
    Callers.beside(fn -> churn(side, population) end, work)
    Latencies.summary(latencies)
  end

  defp time_slices(side, population, slices, latencies) do
    registry = registry(side, population)

    {_, keys} = Population.keys(population, 0, 1)
    keys = keys |> Enum.take(slices * (@timed - 1)) |> Enum.chunk_every(@timed - 1)
    :erlang.garbage_collect()

    for {slice, index} <- Enum.with_index(keys) do
      Loops.time_look_ups(side, registry, ["churned:#{rem(index, @churned) + 1}" | slice], latencies)
      :erlang.yield()
    end
  end

  defp registry(:ours, population), do: population.ours
  defp registry(:theirs, population), do: population.theirs
  defp registry(_table, population), do: population.table

  defp label(size) when size >= 1_000_000, do: "#{div(size, 1_000_000)}M"
  defp label(size), do: "#{div(size, 1_000)}k"
end
