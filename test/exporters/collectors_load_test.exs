defmodule Kantoku.Exporters.CollectorsLoadTest do
  # Acceptance of exporters: collectors that are dead, slow and flapping, all kinds of exporters at once, under load. What was to be sent was sent or counts
  # as dropped, spans and points alike; what calls take is printed, beside instances that export nothing. KANTOKU_SOAK: two minutes of each.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, Footprint, OTLPSpans, RawHTTP, TestHTTPSink, Trace}
  alias Kantoku.Tracing.Relay

  @soak? System.get_env("KANTOKU_SOAK") != nil
  @seconds if @soak?, do: 120, else: 2

  @moduletag timeout: 1_800_000
  @moduletag :collectors
  if @soak?, do: @moduletag(:soak)

  # Of one kind of instance after the other, so that whatever else the machine does meets them all.
  @slice 100
  @callers 4
  # Of metrics over OTLP: longer than a round takes of any of these collectors, so that between two nothing is under way.
  @round 3_000
  @kinds [:statsd, :dogstatsd, :otlp, :otlp_traces]
  @most 20_000
  # A machine that halts for a second may do so where nobody measures it.
  @nearly if @soak?, do: 2_000, else: 10_000

  test "dead: each span and each point counts as dropped" do
    nobody = "http://127.0.0.1:#{TestHTTPSink.closed_port()}"
    plan = %{endpoint: nobody, traces_endpoint: nobody, timeout: 1_000, udp: [closed_udp(), closed_udp()]}
    counts = loaded("dead", plan, fn _number -> false end)
    for kind <- @kinds, do: assert(%{dropped: points, points: points, exports: 0} = counts[kind])
    for kind <- @kinds, do: assert(counts[kind].points > 0)
  end

  test "slower than it is waited for: each span and each point counts as dropped" do
    answer = fn _number -> {:slow, 1_500, 200} end
    plan = Map.merge(sinks(answer), %{timeout: 200, udp: receivers()})
    counts = loaded("slower than its time-out", plan, fn _number -> false end)
    for kind <- [:otlp, :otlp_traces], do: assert(%{dropped: points, points: points} = counts[kind])
    for kind <- @kinds, do: assert(counts[kind].points > 0)
    for kind <- [:statsd, :dogstatsd], do: assert(counts[kind].dropped == 0)
  end

  test "nearly as slow as it is waited for: each span and each point was sent" do
    answer = fn _number -> {:slow, 1_000, 200} end
    plan = Map.merge(sinks(answer), %{timeout: @nearly, udp: receivers()})
    counts = loaded("just below its time-out", plan, fn _number -> true end)
    for kind <- @kinds, do: assert(counts[kind].points > 0 and counts[kind].dropped == 0)
  end

  test "flapping: what it took and what was dropped are all spans and all points" do
    # Three tries are the most that a request has: some are taken at the last of them, and some not at all.
    answer = fn number -> if rem(number, 12) < 7, do: 200, else: Enum.at([:close, 503], rem(number, 2)) end
    plan = Map.merge(sinks(answer), %{timeout: 10_000, udp: receivers()})
    counts = loaded("flapping", plan, &(answer.(&1) == 200))
    for kind <- @kinds, do: assert(counts[kind].points > 0)
    if @soak?, do: for(kind <- [:otlp, :otlp_traces], do: assert(counts[kind].dropped > 0))
  end

  defp sinks(answer) do
    [metrics, traces] = for _ <- 1..2, do: TestHTTPSink.start(answer: answer)
    %{endpoint: metrics.url, traces_endpoint: traces.url}
  end

  defp closed_udp do
    {:ok, socket} = :gen_udp.open(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_udp.close(socket)
    {:closed, port}
  end

  # Two that count the lines that come, and do nothing else.
  defp receivers do
    for _ <- 1..2 do
      {:ok, socket} = :gen_udp.open(0, [:binary, active: false, ip: {127, 0, 0, 1}, recbuf: 4_000_000])
      {:ok, port} = :inet.port(socket)
      lines = :counters.new(1, [])
      reader = spawn_link(fn -> count_lines(lines) end)
      :ok = :gen_udp.controlling_process(socket, reader)
      send(reader, {:read, socket})
      {lines, port}
    end
  end

  defp count_lines(lines) do
    Process.flag(:priority, :high)
    receive do: ({:read, socket} -> count_lines(socket, lines))
  end

  defp count_lines(socket, lines) do
    {:ok, {_ip, _port, text}} = :gen_udp.recv(socket, 0)
    :counters.add(lines, 1, length(:binary.matches(text, "\n")) + 1)
    count_lines(socket, lines)
  end

  # Load on an instance that exports, with one call in 500 traced, so that the slowest hundredth are not just these, one that only traces and two that do neither, in turn; what the exporters of the one did, when all that it
  # had was settled: the points and spans that came in requests of which `taken?` says so by their number, and what was dropped, are all.
  defp loaded(title, plan, taken?) do
    [{_, plain}, {_, dogs}] = plan.udp
    otlp = Map.take(plan, [:endpoint, :traces_endpoint, :timeout]) |> Map.to_list()
    otlp = [otlp: [interval: @round, traces_interval: 100] ++ otlp]
    datagrams = [statsd: [port: plain, interval: 500], dogstatsd: [port: dogs, interval: 500]]
    trace = [sampler: :traceidratio, ratio: 0.002, max_queue_size: @most]
    exporting = agents(start!(engine: :native, trace: trace, exporters: datagrams ++ otlp))
    traced = agents(start!(engine: :native, trace: trace))
    bare = for _ <- 1..2, do: agents(start!(engine: :native, trace: false))
    before = Footprint.take()
    rows = drive([exporting, traced | bare], now() + @seconds * 1_000, {exporting, taken?}, [])
    later = Footprint.take()

    eventually(fn -> settled?(exporting, plan, taken?) end, 12_000)
    assert later.rss <= before.rss + 300 * 1_048_576
    assert later.threads <= before.threads + 1
    counts = Map.new(Exporters.status().exporters, &{&1.kind, &1})
    IO.puts("\n#{title}, #{@seconds} s: #{told(rows)};#{Footprint.compare(before, later)} #{shown(counts)}")
    counts
  end

  defp agents(instance) do
    for n <- 1..@callers, do: {:ok, _} = Kantoku.start_agent(instance, Relay, id: {:agent, n})
    instance
  end

  # Of each round the p99 of all four, in µs.
  defp drive(instances, until, {exporting, taken?} = watched, rows) do
    # Nobody is always the first.
    took = instances |> Enum.shuffle() |> Map.new(&{&1, p99(&1)})
    row = Enum.map(instances, &took[&1])
    gather(taken?)
    {:ok, status} = Trace.status(exporting)
    assert status.held <= @most
    assert length(RawHTTP.threads()) <= 3
    rows = [row | rows]
    if now() < until, do: drive(instances, until, watched, rows), else: rows
  end

  defp p99(instance) do
    until = now() + @slice
    callers = for n <- 1..@callers, do: Task.async(fn -> calls(instance, {:agent, n}, until, []) end)
    took = callers |> Task.await_many(60_000) |> Enum.concat() |> Enum.sort()
    Enum.at(took, div(length(took) * 99, 100)) / 1_000
  end

  defp calls(instance, agent, until, took) do
    begun = System.monotonic_time(:nanosecond)
    {:ok, 1} = Kantoku.call(instance, agent, 1)
    ended = System.monotonic_time(:nanosecond)
    took = [ended - begun | took]
    if div(ended, 1_000_000) < until, do: calls(instance, agent, until, took), else: took
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp settled?(exporting, plan, taken?) do
    gather(taken?)
    counts = Map.new(Exporters.status().exporters, &{&1.kind, &1})
    {:ok, spans} = Trace.status(exporting)
    [plain, dogs] = for {lines, _port} <- plan.udp, do: if(lines == :closed, do: 0, else: :counters.get(lines, 1))
    came = %{statsd: plain, dogstatsd: dogs, otlp: came("/v1/metrics"), otlp_traces: came("/v1/traces")}
    all? = for {kind, count} <- came, do: counts[kind].points == count + counts[kind].dropped
    # Nothing is left with whom spans are taken of.
    all? = Enum.all?(all?) and Enum.all?(@kinds, &(counts[&1].points > 0))
    all? and spans.held == 0 and spans.kept == counts.otlp_traces.points
  end

  # Counts what was posted since the last time, in requests that were answered with yes. One exporter's come one after the other.
  defp gather(taken?) do
    receive do
      {:posted, _url, path, _headers, body} ->
        {requests, count} = Process.get(path, {0, 0})
        points = if taken?.(requests + 1), do: points(path, body), else: 0
        Process.put(path, {requests + 1, count + points})
        gather(taken?)
    after
      0 -> :ok
    end
  end

  defp came(path), do: path |> Process.get({0, 0}) |> elem(1)

  defp points("/v1/traces", body), do: length(OTLPSpans.decode(body))
  defp points("/v1/metrics", body), do: OTLPSpans.points(body)

  defp told(rows) do
    [exporting, traced, bare, other] = for at <- 0..3, do: rows |> Enum.map(&Enum.at(&1, at)) |> median()
    export = median(for [exporting, traced, _, _] <- rows, do: exporting / traced)
    all = median(for [exporting, _, bare, _] <- rows, do: exporting / bare)
    same = median(for [_, _, bare, other] <- rows, do: other / bare)

    "p99 of calls #{us(exporting)} exporting, #{us(traced)} only traced, #{us(bare)} and #{us(other)} bare; " <>
      "paired #{ratio(export)} to traced, #{ratio(all)} to bare, A/A #{ratio(same)}, of #{length(rows)} rounds"
  end

  defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))
  defp us(value), do: "#{Float.round(value, 1)} us"
  defp ratio(value), do: "#{Float.round(value, 3)}"

  defp shown(counts) do
    Enum.map_join(@kinds, ", ", &"#{&1} #{counts[&1].points - counts[&1].dropped} sent + #{counts[&1].dropped} dropped")
  end
end
