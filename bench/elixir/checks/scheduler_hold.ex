defmodule Bench.Checks.SchedulerHold do
  @moduledoc false
  # A process that owns many names is killed. Its clean-up runs in its own exit, so whoever holds a scheduler for long is
  # that process: the runtime tells of each time (`:long_schedule`). Owners of one name die beside them: what is told of
  # those is the machine's noise, and on a quiet one nothing is.

  alias Bench.{Check, Options}

  @bound 1
  @deaths 10

  @spec item(Options.t()) :: Check.t()
  def item(options) do
    names = Options.size(options, 100_000, 20_000)

    %Check{
      name: "scheduler_hold",
      does:
        "#{@deaths} owners of #{names} names each die, and as many of one name; a hold is a scheduler held for more than #{@bound} ms",
      zero: ["holds"],
      run: &count(&1.registry, names)
    }
  end

  defp count(registry, names) do
    previous = :erlang.system_monitor(self(), long_schedule: @bound)
    owners = for n <- 1..@deaths, do: die(registry, n, names)
    others = for n <- 1..@deaths, do: die(registry, n, 1)
    :erlang.system_monitor(previous)
    held = told([])

    [
      {"deaths", length(owners)},
      {"holds", Enum.count(held, &(&1 in owners))},
      {"holds of others", Enum.count(held, &(&1 in others))}
    ]
  end

  defp die(registry, n, names) do
    parent = self()

    {pid, ref} =
      spawn_monitor(fn ->
        for name <- 1..names, do: {:ok, _} = Kantoku.Registry.register(registry, {n, name}, nil)
        send(parent, {:owning, self()})
        Process.sleep(:infinity)
      end)

    receive do: ({:owning, ^pid} -> :ok)
    forget(pid)
    Process.exit(pid, :kill)
    receive do: ({:DOWN, ^ref, :process, ^pid, _} -> pid)
  end

  # Before its death it held a scheduler for reasons of its own.
  defp forget(pid) do
    receive do
      {:monitor, ^pid, :long_schedule, _} -> forget(pid)
    after
      0 -> :ok
    end
  end

  defp told(pids) do
    receive do
      {:monitor, pid, :long_schedule, _} -> told([pid | pids])
    after
      200 -> pids
    end
  end
end
