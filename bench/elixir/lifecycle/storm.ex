defmodule Bench.Lifecycle.Storm do
  @moduledoc false
  # All agents crash at once: how long until each of them is up again and found by its name.

  alias Bench.{Callers, Comparison, Options, Side}
  alias Bench.Lifecycle.{Fleet, Plain}

  @limit 120_000

  @spec items(Options.t()) :: [Comparison.t(), ...]
  def items(options) do
    count = Options.size(options, 10_000, 1_000)
    what = "#{count} agents are killed at once; until every one has said that it is up, and its name leads to it"

    [
      %Comparison{
        name: "storm.dynamic_supervisor",
        unit: "ms",
        better: :lower,
        ours: %Side{
          does: "one domain, first restart at once, token bucket off: #{what}",
          start: &start(:ours, &1, count),
          round: &crash(:ours, &1)
        },
        theirs: %Side{
          does: "DynamicSupervisor with max_restarts of 1,000,000,000 and Registry: the same",
          start: &start(:theirs, &1, count),
          round: &crash(:theirs, &1)
        }
      }
    ]
  end

  defp start(side, stage, count) do
    ids = Enum.map(1..count, &{:storm, side, &1, make_ref()})
    Enum.each(ids, &start_one(side, stage, &1, self()))
    await_up(count)
    %{stage: stage, ids: ids}
  end

  defp crash(side, %{stage: stage, ids: ids}) do
    old = Map.new(ids, &{&1, whereis(side, stage, &1)})
    started = Callers.now()
    Enum.each(old, fn {_, pid} -> Process.exit(pid, :kill) end)
    await_up(length(ids))
    Enum.each(old, fn {id, pid} -> await_name(side, stage, id, pid) end)
    (Callers.now() - started) / 1.0e6
  end

  defp start_one(:ours, %{fleet: fleet}, id, watcher), do: Fleet.start(fleet, id, watcher)
  defp start_one(:theirs, %{plain: plain}, id, watcher), do: Plain.start(plain, id, watcher)

  defp whereis(:ours, %{fleet: fleet}, id), do: Fleet.whereis(fleet, id)
  defp whereis(:theirs, %{plain: plain}, id), do: Plain.whereis(plain, id)

  defp await_up(0), do: :ok

  defp await_up(missing) do
    receive do
      {:up, _} -> await_up(missing - 1)
    after
      @limit -> exit({:still_down, missing})
    end
  end

  defp await_name(side, stage, id, old) do
    case whereis(side, stage, id) do
      pid when is_pid(pid) and pid != old ->
        :ok

      _ ->
        :erlang.yield()
        await_name(side, stage, id, old)
    end
  end
end
