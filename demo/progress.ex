defmodule Demo.Progress do
  # What a run looks like while it goes on, in words. Reads gauges and the pools' own status; changes nothing.
  @moduledoc false

  import Demo.Figures

  alias Demo.{Fleet, Gauges, Schedule}

  @doc "The fleet at work on passes over `total` files."
  @spec work(Fleet.t(), total :: pos_integer, Schedule.t(), faults :: boolean) :: {[String.t()], String.t()}
  def work(%{instance: instance} = fleet, total, schedule, faults?) do
    now = now()
    gauges = instance |> Gauges.all() |> Map.put(:elapsed, now - schedule.began)
    agents = Fleet.agents(fleet)
    pools = for kind <- Fleet.kinds(), status = Fleet.status(fleet, kind), do: {kind, status}
    surge = if Schedule.surging?(schedule, now), do: "  SURGE", else: ""
    faults = if faults?, do: faults(fleet, gauges, pools), else: []
    lines = lines(instance, gauges, agents, pools, total, surge) ++ Enum.map(faults, &("  " <> &1))
    {lines, line(instance, gauges, agents, pools, surge) <> Enum.map_join(faults, &("  " <> &1))}
  end

  defp lines(instance, gauges, agents, pools, total, surge) do
    ["#{seconds(gauges)}  pass #{gauges.pass}  #{files(gauges)}, #{count(total)} in a pass#{surge}"] ++
      ["  work     #{rate(gauges)}, a file in #{spread(Gauges.spread(instance, :work))}"] ++
      Enum.map(pools, &pool(&1, gauges)) ++
      [
        "  agents   #{up(agents)}",
        "  chaos    #{count(gauges.kills)} kills, #{count(gauges.restarts)} restarts, back in #{spread(Gauges.spread(instance, :back))}",
        "  parts    #{count(gauges.parts)} merged, #{count(gauges.repeated)} asked for again, #{count(gauges.refused)} refused as known"
      ]
  end

  defp faults(fleet, gauges, pools) do
    health = Fleet.health(fleet)
    breakers = for kind <- Fleet.kinds(), state = Fleet.breaker(fleet, kind), do: "#{kind} #{state}"
    ejected = for {kind, %{ejected: count}} when count > 0 <- pools, do: "#{kind} #{count(count)} ejected"

    [
      "faults   #{count(gauges.hangs)} hangs, #{count(gauges.slowdowns)} slowdowns, #{count(gauges.leaks)} leaks",
      "health   #{count(Map.get(health, :healthy, 0))} healthy, #{count(Map.get(health, :unhealthy, 0))} unhealthy, " <>
        "#{count(gauges.stuck_found)} found stuck and restarted",
      "breakers " <> Enum.join(breakers ++ ejected, ", "),
      "alerts   " <> named(Fleet.alerts(fleet))
    ]
  end

  defp named([]), do: "none"
  defp named(alerts), do: Enum.join(alerts, ", ")

  defp pool({kind, status}, gauges) do
    "  #{String.pad_trailing("#{kind}", 8)} #{size(status)} ready, #{count(status.queue)} waiting, wait #{duration(status.wait)}, " <>
      "#{count(status.refused)} refused, #{count(gauges[{:again, kind}])} asked again"
  end

  defp line(instance, gauges, agents, pools, surge) do
    "#{seconds(gauges)}  pass #{gauges.pass}  #{files(gauges)}  #{rate(gauges)}  #{up(agents)}  " <>
      "#{count(gauges.kills)} kills  #{count(gauges.restarts)} restarts  work #{spread(Gauges.spread(instance, :work))}" <>
      Enum.map_join(pools, &short/1) <> surge
  end

  defp short({kind, status}) do
    "  #{kind} #{size(status)} queue #{count(status.queue)} wait #{duration(status.wait)} refused #{count(status.refused)}"
  end

  defp size(%{ready: ready, wanted: wanted}), do: "#{count(ready)}/#{count(wanted)}"
  defp seconds(gauges), do: String.pad_leading("#{div(gauges.elapsed, 1_000)} s", 6)
  defp files(gauges), do: "#{count(gauges.files)} files"

  defp rate(%{files: files, bytes: bytes, elapsed: elapsed}),
    do: "#{div(files * 1_000, max(elapsed, 1))} files/s #{per_second(bytes, elapsed)}"

  defp up(agents) do
    "#{count(Map.get(agents, :up, 0))} up, #{count(Map.get(agents, :restarting, 0))} restarting, " <>
      "#{count(Map.get(agents, :parked, 0))} parked"
  end

  @doc "A count on its way to `total`."
  @spec towards(String.t(), :counters.counters_ref(), pos_integer) :: {[String.t()], String.t()}
  def towards(what, counter, total) do
    line = "#{what}: #{count(:counters.get(counter, 1))} of #{count(total)} files"
    {[line], line}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
