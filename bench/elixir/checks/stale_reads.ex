defmodule Bench.Checks.StaleReads do
  @moduledoc false
  # Kills owners and reads at once. `Process.exit/2` followed by `Process.alive?/1` from the same process is in order:
  # when the second says false, the owner was dead before the read began, whatever clean-up is still to come. The next
  # owner takes the same name in that very moment, so a late clean-up would be seen to remove it.

  alias Bench.{Callers, Check, Options}

  @lanes 16

  @spec item(Options.t()) :: Check.t()
  def item(options) do
    kills = Options.size(options, 100_000, 5_000)
    each = div(kills, @lanes)

    %Check{
      name: "stale_reads",
      does:
        "#{each * @lanes} owners of a described name are killed in #{@lanes} lanes; as soon as one is seen dead, " <>
          "whereis_name, lookup, keys, values, select, count_match and find are asked, and the next owner takes the name",
      zero: ["stale reads", "refused takeovers", "lost successors"],
      run: &count(&1.registry, each)
    }
  end

  defp count(registry, each) do
    tally = :counters.new(4, [:atomics])
    Callers.elapsed(@lanes, fn lane -> Enum.each(1..each, fn _ -> kill_one(registry, lane, tally) end) end)
    labels = ["kills", "stale reads", "refused takeovers", "lost successors"]
    for {label, index} <- Enum.with_index(labels, 1), do: {label, :counters.get(tally, index)}
  end

  defp kill_one(registry, lane, tally) do
    key = {:lane, lane}

    case start_owner(registry, key) do
      {:ok, owner} ->
        unless held?(registry, key, owner), do: :counters.add(tally, 4, 1)
        kill(owner)
        :counters.add(tally, 1, 1)
        :counters.add(tally, 2, stale_reads(registry, key, owner))

      {:error, _} ->
        :counters.add(tally, 3, 1)
    end
  end

  defp start_owner(registry, key) do
    parent = self()

    owner =
      spawn(fn ->
        send(parent, {self(), own(registry, key)})
        Process.sleep(:infinity)
      end)

    receive do
      {^owner, {:ok, _}} -> {:ok, owner}
      {^owner, {:error, _} = error} -> error
    end
  end

  defp own(registry, {:lane, lane} = key) do
    with {:ok, _} = done <- Kantoku.Registry.register(registry, key, nil) do
      :ok = Kantoku.Registry.describe(registry, key, tags: [:"lane_#{lane}"])
      done
    end
  end

  # What was cleaned up late has had time by then to hit the new owner.
  defp held?(registry, key, owner) do
    :erlang.yield()
    Kantoku.Registry.whereis_name({registry, key}) == owner
  end

  defp kill(owner) do
    Process.exit(owner, :kill)
    await_dead(owner)
  end

  defp await_dead(owner), do: if(Process.alive?(owner), do: await_dead(owner), else: :ok)

  defp stale_reads(registry, {:lane, lane} = key, owner) do
    Enum.count(
      [
        Kantoku.Registry.whereis_name({registry, key}) != :undefined,
        Kantoku.Registry.lookup(registry, key) != [],
        Kantoku.Registry.keys(registry, owner) != [],
        Kantoku.Registry.values(registry, key, owner) != [],
        owner in Kantoku.Registry.select(registry, [{{:_, :"$1", :_}, [], [:"$1"]}]),
        Kantoku.Registry.count_match(registry, key, :_) != 0,
        Kantoku.Registry.find(registry, tag: :"lane_#{lane}") != []
      ],
      & &1
    )
  end
end
