defmodule Bench.Fairness do
  @moduledoc false
  # One tenant floods a pool, another asks now and then: how long the other waits, against how long it waits alone.
  @behaviour Bench.Suite

  alias Bench.{Callers, Comparison, Latencies, Options, Side, Stage}
  alias Bench.Pool.Rig

  @size 16
  # A holder sleeps 1 ms, which takes nearly 2, so a pool of 16 serves some 8,000 in a second; the flood asks for 10,000.
  # In µs.
  @victim_every 10_000
  @flood 100

  @impl true
  def name, do: "fairness"

  @impl true
  def stages(options) do
    [
      %Stage{
        build: fn -> Rig.open(@size, options, max_queue: 1_000_000) end,
        clear: &Rig.close/1,
        items: [victim("p99.victim", :ours, options), victim("p99.victim.poolboy", :poolboy, options)]
      }
    ]
  end

  # How often better it is alone: 1.0 where the flood is not felt.
  defp victim(name, side, options) do
    millis = Options.size(options, 5_000, 2_000)

    %Comparison{
      name: name,
      unit: "µs",
      better: :lower,
      ours: %Side{does: "#{side}: the victim beside a flood", round: &round(&1, side, millis, true)},
      theirs: %Side{does: "#{side}: the victim alone", round: &round(&1, side, millis, false)}
    }
  end

  defp round(rig, side, millis, flooded?) do
    flood = if flooded?, do: spawn(fn -> flood(rig, side) end)
    Process.sleep(100)
    latencies = Latencies.new()
    victims(rig, side, latencies, Callers.now(), div(millis * 1_000, @victim_every))
    if flood, do: stop(flood)
    [{"p50", _}, {"p99", p99} | _] = Latencies.summary(latencies)
    p99
  end

  # Open loop: each request is a process of its own, timed from when it was meant to start.
  defp victims(rig, side, latencies, start, count) do
    requests =
      for number <- 1..count do
        meant = start + number * @victim_every * 1_000
        wait_until(meant)
        {_pid, monitor} = spawn_monitor(fn -> request(rig, side, :victim, latencies, meant) end)
        monitor
      end

    Enum.each(requests, fn monitor ->
      receive do
        {:DOWN, ^monitor, :process, _pid, _reason} -> :ok
      end
    end)
  end

  defp request(rig, side, tenant, latencies, meant) do
    serve(rig, side, tenant)
    Latencies.record(latencies, Callers.now() - meant)
  end

  defp serve(%{ours: pool}, :ours, tenant),
    do: Kantoku.Pool.run(pool, fn _worker -> Process.sleep(1) end, tenant: tenant, timeout: 60_000)

  defp serve(rig, :poolboy, _tenant), do: Rig.work(rig, :poolboy, :rest)

  defp flood(rig, side) do
    Process.flag(:trap_exit, true)
    flood(rig, side, Callers.now(), 0)
  end

  # 100 times the victim's rate, in bursts of one a millisecond; a backlog stands from the first moments on.
  defp flood(rig, side, start, sent) do
    due = div((Callers.now() - start) * @flood, @victim_every * 1_000)
    for _ <- 1..max(due - sent, 0)//1, do: spawn_link(fn -> serve(rig, side, :flood) end)
    Process.sleep(1)

    receive do
      :stop -> for pid <- elem(Process.info(self(), :links), 1), is_pid(pid), do: Process.exit(pid, :kill)
    after
      0 -> flood(rig, side, start, max(due, sent))
    end
  end

  defp stop(flood) do
    monitor = Process.monitor(flood)
    send(flood, :stop)

    receive do
      {:DOWN, ^monitor, :process, _pid, _reason} -> Process.sleep(300)
    end
  end

  defp wait_until(time) do
    case time - Callers.now() do
      left when left > 2_000_000 -> Process.sleep(div(left, 1_000_000) - 1)
      left when left > 0 -> :erlang.yield()
      _late -> :ok
    end

    if Callers.now() < time, do: wait_until(time), else: :ok
  end
end
