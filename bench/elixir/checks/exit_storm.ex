defmodule Bench.Checks.ExitStorm do
  @moduledoc false
  # A crowd of owners dies at once. Nothing may be left: not for a read that comes right after the last death, and not
  # as memory either, once the clean-up is done.

  alias Bench.{Check, Options, Ours}

  @settle 10_000

  @spec item(Options.t()) :: Check.t()
  def item(options) do
    owners = Options.size(options, 20_000, 2_000)

    %Check{
      name: "exit_storm",
      does:
        "#{owners} owners of two names each, one of them described, are killed at once; names are counted by " <>
          "count, select, find and whereis_name as soon as the last is down; entries kept are what the core still holds after at most #{@settle} ms",
      zero: ["names left", "entries kept"],
      run: &count(&1.registry, owners)
    }
  end

  defp count(registry, owners) do
    base = Ours.entries(registry)
    crowd = Enum.map(1..owners, &start(registry, &1))
    Enum.each(crowd, &await_owning/1)
    standing = Kantoku.Registry.count(registry)
    Enum.each(crowd, fn {pid, _} -> Process.exit(pid, :kill) end)
    Enum.each(crowd, &await_down/1)
    left = names_left(registry, owners)
    [{"names before", standing}, {"names left", left}, {"entries kept", settle(registry, base, @settle)}]
  end

  defp start(registry, number) do
    parent = self()

    spawn_monitor(fn ->
      {:ok, _} = Kantoku.Registry.register(registry, {:first, number}, nil)
      {:ok, _} = Kantoku.Registry.register(registry, {:second, number}, nil)
      :ok = Kantoku.Registry.describe(registry, {:first, number}, tags: [:crowd])
      send(parent, {:owning, self()})
      Process.sleep(:infinity)
    end)
  end

  defp await_owning({pid, monitor}) do
    receive do
      {:owning, ^pid} -> :ok
      {:DOWN, ^monitor, _, _, reason} -> exit(reason)
    end
  end

  defp await_down({_, monitor}) do
    receive do
      {:DOWN, ^monitor, _, _, :killed} -> :ok
    end
  end

  defp names_left(registry, owners) do
    found = for n <- 1..owners, kind <- [:first, :second], taken?(registry, {kind, n}), do: n

    length(found) + Kantoku.Registry.count(registry) + length(Kantoku.Registry.find(registry, tag: :crowd)) +
      length(Kantoku.Registry.select(registry, [{{:"$1", :_, :_}, [], [:"$1"]}]))
  end

  defp taken?(registry, key), do: Kantoku.Registry.whereis_name({registry, key}) != :undefined

  defp settle(registry, base, patience) do
    case Ours.entries(registry) - base do
      kept when kept <= 0 or patience <= 0 -> kept
      _ -> Process.sleep(10) && settle(registry, base, patience - 10)
    end
  end
end
