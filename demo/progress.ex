defmodule Demo.Progress do
  # What a run looks like while it goes on, in words. Reads gauges and the instance's own status; changes nothing.
  @moduledoc false

  import Demo.Figures

  alias Demo.{Fleet, Gauges}

  @doc "The fleet at work on passes over `total` files."
  @spec work(Fleet.t(), total :: pos_integer, began :: integer) :: {[String.t()], String.t()}
  def work(%{instance: instance}, total, began) do
    elapsed = now() - began
    gauges = instance |> Gauges.all() |> Map.put(:elapsed, elapsed)
    agents = agents(instance)
    {lines(instance, gauges, agents, total), line(instance, gauges, agents)}
  end

  defp lines(instance, gauges, agents, total) do
    [
      "#{seconds(gauges)}  pass #{gauges.pass}  #{files(gauges)}, #{count(total)} in a pass",
      "  work     #{rate(gauges)}, a file in #{spread(Gauges.spread(instance, :work))}",
      "  agents   #{up(agents)}",
      "  chaos    #{count(gauges.kills)} kills, #{count(gauges.restarts)} restarts, back in #{spread(Gauges.spread(instance, :back))}",
      "  parts    #{count(gauges.parts)} merged, #{count(gauges.repeated)} asked for again, #{count(gauges.refused)} refused as known"
    ]
  end

  defp line(instance, gauges, agents) do
    "#{seconds(gauges)}  pass #{gauges.pass}  #{files(gauges)}  #{rate(gauges)}  #{up(agents)}  " <>
      "#{count(gauges.kills)} kills  #{count(gauges.restarts)} restarts  work #{spread(Gauges.spread(instance, :work))}"
  end

  defp seconds(gauges), do: String.pad_leading("#{div(gauges.elapsed, 1_000)} s", 6)
  defp files(gauges), do: "#{count(gauges.files)} files"

  defp rate(%{files: files, bytes: bytes, elapsed: elapsed}),
    do: "#{div(files * 1_000, max(elapsed, 1))} files/s #{per_second(bytes, elapsed)}"

  defp up(agents) do
    "#{count(Map.get(agents, :up, 0))} up, #{count(Map.get(agents, :restarting, 0))} restarting, " <>
      "#{count(Map.get(agents, :parked, 0))} parked"
  end

  defp agents(instance) do
    {:ok, %{domains: %{default: %{agents: agents}}}} = Kantoku.status(instance)
    agents
  end

  @doc "A count on its way to `total`."
  @spec towards(String.t(), :counters.counters_ref(), pos_integer) :: {[String.t()], String.t()}
  def towards(what, counter, total) do
    line = "#{what}: #{count(:counters.get(counter, 1))} of #{count(total)} files"
    {[line], line}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
