defmodule Kantoku.Traffic do
  # Callers that register, look up and die without end, and note each answer that was not right. Runs in another VM.
  @moduledoc false

  alias Kantoku.Native

  @instance :upgraded

  def start(callers) do
    parent = self()
    holder = spawn(fn -> hold(parent) end)
    receive do: ({^holder, :open} -> :ok)
    {holder, for(n <- 1..callers, do: spawn(fn -> traffic(n, 0, []) end))}
  end

  defp hold(parent) do
    :ok = Native.open(@instance, :unique, 1, [])
    :ok = Native.seat(@instance, 0, self())
    {:link, _} = Native.register(@instance, :kept, %{since: :before})
    {:ok, 1, _} = Native.describe(@instance, :kept, self(), 0, %{}, [{:tag, "kept"}])
    send(parent, {self(), :open})
    receive do: (:stop -> :ok)
  end

  def answers? do
    match?([{_, %{since: :before}}], Native.lookup(@instance, :kept)) and
      match?([{:kept, _}], Native.find_pids(@instance, {[{:tag, "kept"}], [], [], :load, 1}))
  end

  # One name that comes and goes, one short-lived owner, and one look-up, for ever.
  defp traffic(n, rounds, failures) do
    mine = {:mine, n}
    {pid, ref} = spawn_monitor(fn -> Native.register(@instance, {:brief, n}, rounds) end)

    checks = [
      match?({_, _}, Native.register(@instance, mine, rounds)),
      Native.whereis(@instance, mine) == self(),
      answers?(),
      Native.unregister(@instance, mine) != :unknown,
      receive(do: ({:DOWN, ^ref, :process, ^pid, reason} -> reason == :normal)),
      Native.whereis(@instance, {:brief, n}) == :undefined
    ]

    failures = if Enum.all?(checks), do: failures, else: [{rounds, checks} | failures]

    receive do
      {:stop, from} -> send(from, {self(), rounds + 1, failures})
    after
      0 -> traffic(n, rounds + 1, failures)
    end
  end

  def stop({holder, callers}) do
    for caller <- callers, do: send(caller, {:stop, self()})
    done = for caller <- callers, do: receive(do: ({^caller, rounds, failures} -> {rounds, failures}))
    send(holder, :stop)
    {done |> Enum.map(&elem(&1, 0)) |> Enum.sum(), Enum.flat_map(done, &elem(&1, 1))}
  end
end
