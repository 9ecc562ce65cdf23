defmodule Bench.Names.Find do
  @moduledoc false
  # "The least loaded agent with this tag", asked while loads change and while they rest.

  alias Bench.{Callers, Comparison, Latencies, Measurement, Options, Side}
  alias Bench.Names.{FindPopulation, OrderedIndex, SampledIndex}

  @updates 20
  @mixes 50
  @questions 200

  @ours "Kantoku.Registry.find/2 with [tag: tag, order_by: :load, limit: 1]"
  @ordered "an ETS ordered_set keyed {tag, node, load, id}: one :ets.next/2 to the least loaded, one look-up, alive check"
  @sampled "an ETS tag index and :atomics loads, the better of two random members, alive check (NOT the least loaded)"
  @ordered_moves "each change deletes and inserts a key for each of an agent's 3 tags"

  @spec items(Options.t()) :: [Bench.Stage.item(), ...]
  def items(options) do
    Enum.flat_map(
      [&against_ordered/2, &against_sampled/2, &only_ordered/2, &latency/2],
      &for(density <- FindPopulation.densities(), do: &1.(density, options))
    )
  end

  defp against_ordered(density, options) do
    peer = mix(:ordered, "#{@ordered}; #{@ordered_moves}", density, options)
    comparison("find.update_mix.ets", density, mix(:ours, ours_updates(), density, options), peer)
  end

  defp against_sampled(density, options) do
    peer = mix(:sampled, "#{@sampled}; a change is one :atomics.put/3", density, options)
    comparison("find.update_mix.atomics", density, mix(:ours, ours_updates(), density, options), peer)
  end

  defp only_ordered(density, options) do
    comparison("find.only.ets", density, ask(:ours, @ours, density, options), ask(:ordered, @ordered, density, options))
  end

  defp ours_updates, do: "#{@ours}; a change is Kantoku.Registry.set_load/3"

  defp comparison(name, density, ours, theirs) do
    %Comparison{
      name: name,
      variant: FindPopulation.label(density),
      unit: if(name == "find.only.ets", do: "queries/s", else: "mixes/s"),
      better: :higher,
      ours: ours,
      theirs: theirs
    }
  end

  defp mix(side, does, density, options) do
    callers = System.schedulers_online()
    millis = Options.size(options, 700, 150)

    %Side{
      does: "#{does}; #{callers} looping callers, each mix #{@updates} changes of load and one question",
      round: fn stage ->
        Callers.rate(callers, millis, &start(stage, density, &1, callers), &mixes(side, &1, @mixes))
      end
    }
  end

  defp ask(side, does, density, options) do
    callers = System.schedulers_online()
    millis = Options.size(options, 500, 150)

    %Side{
      does: "#{does}; #{callers} looping callers, loads at rest",
      round: fn stage -> Callers.rate(callers, millis, &start(stage, density, &1, callers), &questions(side, &1)) end
    }
  end

  defp start(stage, density, index, callers) do
    updates = FindPopulation.updates(stage, index, callers)
    tags = FindPopulation.questions(stage, density)
    %{stage: stage, updates: updates, all_updates: updates, tags: tags, all_tags: tags}
  end

  defp mixes(side, state, count) do
    {count, Enum.reduce(1..count, state, fn _, state -> mix_once(side, state) end)}
  end

  defp mix_once(side, %{tags: []} = state), do: mix_once(side, %{state | tags: state.all_tags})

  defp mix_once(side, %{stage: stage, tags: [tag | tags]} = state) do
    updates = change(side, stage, state.updates, state.all_updates, @updates)
    _ = find(side, stage, tag)
    %{state | tags: tags, updates: updates}
  end

  defp questions(side, state) do
    tags = ask_all(side, state.stage, state.tags, state.all_tags, @questions)
    {@questions, %{state | tags: tags}}
  end

  defp ask_all(_side, _stage, tags, _all, 0), do: tags
  defp ask_all(side, stage, [], all, count), do: ask_all(side, stage, all, all, count)

  defp ask_all(side, stage, [tag | tags], all, count) do
    _ = find(side, stage, tag)
    ask_all(side, stage, tags, all, count - 1)
  end

  defp change(_side, _stage, updates, _all, 0), do: updates
  defp change(side, stage, [], all, count), do: change(side, stage, all, all, count)

  defp change(side, stage, [{number, handle, load} | updates], all, count) do
    set_load(side, stage, number, handle, load)
    change(side, stage, updates, all, count - 1)
  end

  defp set_load(:ours, stage, _number, handle, load), do: Kantoku.Registry.set_load(stage.ours, handle, load)
  defp set_load(:ordered, stage, number, _handle, load), do: OrderedIndex.set_load(stage.ordered, number, load)
  defp set_load(:sampled, stage, number, _handle, load), do: SampledIndex.set_load(stage.sampled, number, load)

  defp find(:ours, stage, tag), do: [_] = Kantoku.Registry.find(stage.ours, tag: tag, order_by: :load, limit: 1)
  defp find(:ordered, stage, tag), do: {_, _, _} = OrderedIndex.least_loaded(stage.ordered, tag)
  defp find(:sampled, stage, tag), do: {_, _, _} = SampledIndex.better_of_two(stage.sampled, tag)

  defp latency(density, options) do
    %Measurement{
      name: "find.latency.#{FindPopulation.label(density)}",
      unit: "µs",
      does:
        "single questions of one caller, each after #{@updates} changes of load that are not in the time, beside the same " <>
          "of the ordered_set; the cost of reading the clock is included",
      run: fn stage ->
        for {side, label} <- [ours: "kantoku", ordered: "ordered_set"],
            {quantile, value} <- timed(side, stage, density, options) do
          {"#{label}.#{quantile}", value}
        end
      end
    }
  end

  defp timed(side, stage, density, options) do
    latencies = Latencies.new()
    count = Options.size(options, 20_000, 2_000)
    Callers.elapsed(1, fn index -> time_all(side, start(stage, density, index, 1), count, latencies) end)
    Latencies.summary(latencies)
  end

  defp time_all(side, state, count, latencies) do
    :erlang.garbage_collect()
    time(side, state, count, latencies)
  end

  defp time(_side, _state, 0, _latencies), do: :ok

  defp time(side, %{tags: []} = state, count, latencies),
    do: time(side, %{state | tags: state.all_tags}, count, latencies)

  defp time(side, %{stage: stage, tags: [tag | tags]} = state, count, latencies) do
    updates = change(side, stage, state.updates, state.all_updates, @updates)
    :erlang.yield()
    started = Callers.now()
    _ = find(side, stage, tag)
    Latencies.record(latencies, Callers.now() - started)
    time(side, %{state | tags: tags, updates: updates}, count - 1, latencies)
  end
end
