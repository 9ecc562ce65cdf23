defmodule Kantoku.Exporters.CollectorsTest do
  # Collectors that fail while there is load. Exporters are the VM's, and so is what they count.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, OTLPSpans, TestHTTPSink, Trace}
  alias Kantoku.Tracing.Relay

  # KANTOKU_SOAK: two minutes of each.
  @soak? System.get_env("KANTOKU_SOAK") != nil
  @seconds if @soak?, do: 120, else: 3

  @moduletag timeout: 600_000
  if @soak?, do: @moduletag(:soak)

  # What an instance may hold of spans.
  @most 4_000
  @most_bytes 8_000_000

  defp loaded!(url, otlp) do
    trace = [sampler: :always_on, max_queue_size: @most, max_queue_bytes: @most_bytes]
    otlp = [otlp: [endpoint: url, signals: [:traces], traces_interval: 100] ++ otlp]
    instance = start!(engine: :native, trace: trace, exporters: otlp)
    {:ok, _} = Kantoku.start_agent(instance, Relay, id: "ada")
    made = 2 * load(instance)

    # Both spans of each call: kept or dropped.
    eventually(fn ->
      {:ok, counts} = Trace.status(instance)
      counts.kept + counts.dropped == made
    end)

    {instance, made}
  end

  # How many calls were made, while what is held never passed its bounds.
  defp load(instance) do
    until = System.monotonic_time(:millisecond) + @seconds * 1_000
    callers = for _ <- 1..4, do: Task.async(fn -> calls(instance, until, 0) end)
    watch(instance, until)
    callers |> Task.await_many(:infinity) |> Enum.sum()
  end

  defp calls(instance, until, made) do
    {:ok, ^made} = Kantoku.call(instance, "ada", made)
    if now() < until, do: calls(instance, until, made + 1), else: made + 1
  end

  defp watch(instance, until) do
    {:ok, counts} = Trace.status(instance)
    assert counts.held <= @most and counts.bytes <= @most_bytes
    assert length(Kantoku.RawHTTP.threads()) <= 3
    if now() < until, do: watch(instance, until)
  end

  defp now, do: System.monotonic_time(:millisecond)

  # Waits until all that was kept was taken, in requests that were answered with 200, or counted as dropped: the spans, and that count.
  defp settled(instance, made, answer) do
    {:ok, %{kept: kept, dropped: passed}} = Trace.status(instance)
    assert kept + passed == made

    eventually(
      fn ->
        spans = taken(answer)
        length(spans) + exporter().dropped == kept
      end,
      12_000
    )

    spans = taken(answer)
    assert spans |> Enum.uniq_by(& &1.span) |> length() == length(spans)
    {spans, exporter().dropped}
  end

  defp exporter, do: Enum.find(Exporters.status().exporters, &(&1.kind == :otlp_traces))

  # Requests come one after the other, so the n-th of them is the n-th that was answered.
  defp taken(answer) do
    {count, spans} = Process.get(:taken, {0, []})
    bodies = Enum.with_index(OTLPSpans.bodies(), count + 1)
    more = for {body, number} <- bodies, answer.(number) not in [:close, 503], span <- OTLPSpans.decode(body), do: span
    Process.put(:taken, {count + length(bodies), more ++ spans})
    more ++ spans
  end

  test "one that is dead: each span that was kept is counted as dropped" do
    {instance, made} = loaded!("http://127.0.0.1:#{TestHTTPSink.closed_port()}", [])
    assert {[], dropped} = settled(instance, made, fn _number -> :close end)
    assert dropped > 0 and exporter().exports == 0
  end

  test "one that is slow: it has each span that was kept" do
    answer = fn _number -> {:slow, 300, 200} end
    sink = TestHTTPSink.start(answer: answer)
    {instance, made} = loaded!(sink.url, timeout: 60_000)
    assert {[_ | _], 0} = settled(instance, made, answer)
  end

  test "one that comes and goes: what it took and what was dropped are all that was kept" do
    # For some requests it is there, for more than three tries it is not.
    answer = fn number -> if rem(number, 12) < 7, do: 200, else: Enum.at([:close, 503], rem(number, 2)) end
    sink = TestHTTPSink.start(answer: answer)
    {instance, made} = loaded!(sink.url, timeout: 60_000)
    assert {[_ | _], dropped} = settled(instance, made, answer)
    if @soak?, do: assert(dropped > 0)
  end
end
