defmodule Kantoku.Counterparts.StatsDTest do
  # The first StatsD, of npm: KANTOKU_STATSD is the folder of its package.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{JSONReader, Metrics, TestHTTPSink, TestProgram}

  @moduletag :counterpart
  @moduletag :statsd

  @tag :tmp_dir
  test "it counts exactly what was counted, and as many timings as there were", %{tmp_dir: folder} do
    port = started(folder)
    instance = start!(exporters: [statsd: [port: port, prefix: "shop.", interval: 20]])
    :ok = Metrics.counter(instance, "asked", labels: [:of])
    for n <- 1..1_000, do: :ok = Metrics.add(instance, "asked", rem(n, 3), of: "ada")
    :ok = Metrics.gauge(instance, "size")
    :ok = Metrics.set(instance, "size", 7)
    :ok = Metrics.histogram(instance, "took_seconds", unit: :seconds)
    asked = "shop.asked.#{instance}.ada"
    took = "shop.took_seconds.#{instance}"
    timed = fn -> round(sum(folder, "timer_counters", took)) end

    # Sent in pieces, of which each has a bucket more than the one before.
    for {seconds, so_far} <- [{0.25, 100}, {0.5, 200}] do
      for _ <- 1..100, do: :ok = Metrics.observe(instance, "took_seconds", seconds)
      eventually(fn -> timed.() >= so_far end)
    end

    for n <- 1..100, do: :ok = Metrics.observe(instance, "took_seconds", if(rem(n, 2) == 0, do: 0.5, else: 0.125))
    stop_supervised!(instance)
    eventually(fn -> sum(folder, "counters", asked) >= 1_000 and timed.() >= 300 end)
    flushed = length(flushes(folder))
    eventually(fn -> length(flushes(folder)) >= flushed + 2 end)
    # What came later than that would be too much.
    assert sum(folder, "counters", asked) == 1_000
    assert_in_delta sum(folder, "timer_counters", took), 300, 0.001
    assert List.last(flushes(folder))["gauges"]["shop.size.#{instance}"] == 7
    assert sum(folder, "counters", "statsd.bad_lines_seen") == 0

    # In ms, each within 3 % of what was observed.
    timings = for flush <- flushes(folder), timing <- flush["timers"][took] || [], do: timing
    assert timings != []
    for timing <- timings, do: assert(Enum.any?([125, 250, 500], &(abs(timing - &1) <= 0.03 * &1)), "#{timing}")
    for about <- [125, 250, 500], do: assert(Enum.any?(timings, &(abs(&1 - about) <= 0.03 * about)))
  end

  defp started(folder) do
    [port, management] = for _ <- 1..2, do: TestHTTPSink.closed_port()
    backend = Path.join(folder, "backend.js")
    File.write!(backend, backend(Path.join(folder, "flushes")))
    config = Path.join(folder, "config.js")

    # It forgets at each flush what came, but no gauges.
    File.write!(config, """
    { port: #{port}, address: "127.0.0.1", mgmt_port: #{management}, mgmt_address: "127.0.0.1",
      flushInterval: 200, backends: ["#{backend}"] }
    """)

    stats = Path.join(TestProgram.find("KANTOKU_STATSD"), "stats.js")
    node = System.find_executable("node")
    TestProgram.start(node, [stats, config], Path.join(folder, "log"), fn -> TestProgram.listens?(management) end)
    port
  end

  # Writes what it is given at each flush as a line of JSON.
  defp backend(file) do
    """
    const fs = require("fs");
    exports.init = (_time, _config, events) => {
      events.on("flush", (_timestamp, { counters, gauges, timers, timer_counters }) => {
        fs.appendFileSync("#{file}", JSON.stringify({ counters, gauges, timers, timer_counters }) + "\\n");
      });
      return true;
    };
    """
  end

  # A line that is not whole yet is left for the next look.
  defp flushes(folder) do
    with {:ok, text} <- File.read(Path.join(folder, "flushes")),
         do: text |> String.split("\n") |> Enum.drop(-1) |> Enum.map(&JSONReader.read!/1),
         else: (_ -> [])
  end

  defp sum(folder, kind, name), do: folder |> flushes() |> Enum.map(&(&1[kind][name] || 0)) |> Enum.sum()
end
