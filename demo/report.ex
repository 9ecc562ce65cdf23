defmodule Demo.Report do
  # What a run has come to, for people and as JSON. Pure.
  @moduledoc false

  import Demo.Figures

  alias Demo.{Fleet, Gauges, Json, Peaks, Reference, Schedule, Tally}

  @reasons [binary: "binary", unreadable: "unreadable", damaged: "damaged", too_large: "too large"]

  @faults [:breaker_open, :hangs, :slowdowns, :leaks, :stuck_found, :hung_killed, :hung_left, :healthy_restarted]

  @enforce_keys [:gauges, :spreads, :options, :dir, :walk, :passes, :index, :reference, :took, :missed, :peaks]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          gauges: %{Gauges.name() => integer},
          spreads: %{(:work | :back | :beyond) => Gauges.spread()},
          options: Demo.Options.t(),
          dir: Path.t(),
          walk: Demo.Walk.t(),
          passes: pos_integer,
          index: Tally.t(),
          reference: Reference.t(),
          took: %{fleet: non_neg_integer, plain: non_neg_integer},
          missed: non_neg_integer,
          peaks: Peaks.t()
        }

  @doc "Whether the fleet came to the same as the plain computation: each term, each figure, and the fate of each file."
  @spec identical?(t) :: boolean
  def identical?(report) do
    should = should(report)
    report.index == should.tally and outcomes(report) == should.outcomes
  end

  @doc "Whether health found all that hung, and left all others alone."
  @spec well_looked_after?(t) :: boolean
  def well_looked_after?(%{gauges: gauges}), do: gauges.healthy_restarted == 0 and gauges.hung_left == 0

  defp should(%{reference: reference, passes: passes}), do: Reference.times(reference, passes)

  defp outcomes(%{gauges: gauges}) do
    skipped = for {reason, _word} <- @reasons, do: {reason, gauges[reason]}
    text = gauges.files - Enum.sum(Keyword.values(skipped))
    for {outcome, count} when count > 0 <- [{:text, text} | skipped], into: %{}, do: {outcome, count}
  end

  @doc "The report in lines."
  @spec lines(t) :: [String.t()]
  def lines(%{gauges: gauges, spreads: spreads, passes: passes, took: took} = report) do
    [
      "",
      "files      #{count(length(report.walk.files))} below #{report.dir}: #{fates(report)}",
      "work       #{count(passes)} passes, #{count(gauges.files)} files, #{count(gauges.parts)} parts in #{duration(took.fleet)}: " <>
        "#{per_second(gauges.bytes, div(took.fleet, 1_000))}, a file in #{spread(spreads.work)}",
      "plain      one process, one pass in #{duration(took.plain)}",
      "index      #{terms(report.index)}",
      "kills      #{count(gauges.kills)} survived#{spared(gauges)}; #{count(gauges.restarts)} restarts, #{count(gauges.parked)} times parked" <>
        called_back(gauges),
      "back       from kill to back #{spread(spreads.back)}; beyond the back-off #{spread(spreads.beyond)}",
      "repeated   #{count(gauges.repeated)} pieces of work asked for again, #{count(gauges.refused)} second deliveries refused",
      "why        #{count(gauges.died)} workers died, #{count(gauges.late)} late; pools refused: #{count(gauges.queue_full)} queue full, " <>
        "#{count(gauges.overloaded)} overloaded, #{count(gauges.pool_closed)} closed"
    ] ++ pools(report) ++ surge(report) ++ faults(report) ++ missed(report) ++ ["", verdict(report)]
  end

  defp pools(%{peaks: %{pools: pools}, gauges: gauges}) do
    for kind <- Fleet.kinds(), pool = pools[kind] do
      "#{String.pad_trailing("#{kind}", 10)} a pool of #{count(pool.least)} to #{count(pool.most)} ready, up to #{count(pool.queue)} waiting, " <>
        "mean wait up to #{duration(pool.wait)}; #{count(pool.served)} served, #{count(pool.refused)} refused, " <>
        "#{count(gauges[{:again, kind}])} asked again" <> scaled(pool)
    end
  end

  defp scaled(%{moves: []}), do: ""

  defp scaled(%{moves: [{from, _to} | _] = moves}),
    do: "; scaled " <> Enum.map_join([from | Enum.map(moves, &elem(&1, 1))], " -> ", &count/1)

  defp surge(%{peaks: %{surge: nil}}), do: []

  defp surge(%{peaks: %{surge: surge}, gauges: gauges, took: took}) do
    rest = {gauges.files - surge.files, div(took.fleet, 1_000) - surge.took}

    [
      "surge      #{duration(surge.took * 1_000)} with #{Schedule.times()} times as many files at once: #{rate({surge.files, surge.took})} files/s, " <>
        "#{rate(rest)} without"
    ]
  end

  defp faults(%{options: %{faults: false}}), do: []

  defp faults(%{gauges: gauges}) do
    [
      "faults     #{count(gauges.hangs)} hangs, #{count(gauges.slowdowns)} slowdowns, #{count(gauges.leaks)} leaks; " <>
        "breakers refused #{count(gauges.breaker_open)}",
      "health     #{count(gauges.stuck_found)} agents found stuck and restarted, #{count(gauges.hung_killed)} killed before that, " <>
        "#{count(gauges.hung_left)} not found; healthy agents restarted: #{count(gauges.healthy_restarted)}"
    ]
  end

  defp rate({files, ms}), do: div(files * 1_000, max(ms, 1))

  defp fates(%{reference: %{outcomes: outcomes}, walk: walk}) do
    words = [{:text, "text"} | @reasons]
    read = for {fate, word} <- words, (n = Map.get(outcomes, fate, 0)) > 0, do: "#{count(n)} #{word}"
    seen = [{walk.links, "links not followed"}, {walk.special, "devices"}, {walk.closed, "closed"}]
    Enum.join(read ++ for({n, word} when n > 0 <- seen, do: "#{count(n)} #{word}"), ", ")
  end

  defp terms(%{terms: terms, figures: {figures, _sum, largest}}) do
    "#{count(map_size(terms))} terms, #{count(terms |> Map.values() |> Enum.sum())} times; #{count(figures)} figures up to #{largest}"
  end

  defp spared(%{spared: 0}), do: ""
  defp spared(%{spared: spared}), do: ", #{count(spared)} spared after the time was over"

  defp called_back(%{called_back: 0}), do: ""
  defp called_back(%{called_back: times}), do: ", #{count(times)} times called back when all was handed out"

  defp missed(%{missed: 0}), do: []
  defp missed(%{missed: missed}), do: ["missed     #{count(missed)} events came too fast to be counted"]

  defp verdict(report) do
    if identical?(report) do
      "identical: nothing lost, nothing counted twice"
    else
      {lost, twice} = Tally.compare(report.index, should(report).tally)

      "NOT identical: #{count(lost)} lost, #{count(twice)} counted twice; fates of files #{inspect(outcomes(report))}, " <>
        "expected #{inspect(should(report).outcomes)}"
    end
  end

  @doc "The report as one line of JSON."
  @spec json(t) :: String.t()
  def json(%{gauges: gauges, options: options, walk: walk} = report) do
    {lost, twice} = Tally.compare(report.index, should(report).tally)

    Json.object(
      [
        identical: identical?(report),
        lost: lost,
        counted_twice: twice,
        engine: options.engine,
        crew: options.crew,
        agents: options.agents
      ] ++
        [
          files: length(walk.files),
          passes: report.passes,
          files_done: gauges.files,
          parts: gauges.parts,
          bytes: gauges.bytes
        ] ++
        Enum.map([:kills, :spared, :restarts, :parked, :called_back, :repeated, :refused], &{&1, gauges[&1]}) ++
        Enum.map(Keyword.keys(@reasons), &{&1, Map.get(report.reference.outcomes, &1, 0)}) ++
        [links: walk.links, closed: walk.closed, terms: map_size(report.index.terms), missed_events: report.missed] ++
        [seconds: report.took.fleet / 1_000_000, plain_seconds: report.took.plain / 1_000_000, dir: report.dir] ++
        Enum.flat_map(report.spreads, &quantiles/1) ++
        [surge: report.peaks.surge != nil] ++
        Enum.map([:died, :late, :queue_full, :overloaded, :pool_closed], &{&1, gauges[&1]}) ++
        [faults: options.faults] ++
        Enum.map(@faults, &{&1, gauges[&1]}) ++
        Enum.flat_map(report.peaks.pools, &pool(&1, gauges))
    )
  end

  defp pool({kind, pool}, gauges) do
    members = [
      ready_most: pool.most,
      ready_least: pool.least,
      queue_most: pool.queue,
      wait_most_ms: pool.wait / 1_000,
      served: pool.served,
      refused: pool.refused,
      repeated: gauges[{:again, kind}],
      moves: length(pool.moves)
    ]

    for {name, value} <- members, do: {"pool_#{kind}_#{name}", value}
  end

  defp quantiles({name, %{p50: p50, p99: p99}}), do: [{"#{name}_p50_ms", p50 / 1_000}, {"#{name}_p99_ms", p99 / 1_000}]
end
