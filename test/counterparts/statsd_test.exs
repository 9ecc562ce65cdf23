defmodule Kantoku.Counterparts.StatsDTest do
  # The first StatsD, of npm: KANTOKU_STATSD is the folder of its package.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, TestHTTPSink, TestProgram}

  @moduletag :counterpart
  @moduletag :statsd

  @tag :tmp_dir
  test "it counts exactly what was counted", %{tmp_dir: folder} do
    {port, management} = started(folder)
    instance = start!(exporters: [statsd: [port: port, prefix: "shop.", interval: 20]])
    :ok = Metrics.counter(instance, "asked", labels: [:of])
    for n <- 1..1_000, do: :ok = Metrics.add(instance, "asked", rem(n, 3), of: "ada")
    :ok = Metrics.gauge(instance, "size")
    :ok = Metrics.set(instance, "size", 7)
    :ok = Metrics.histogram(instance, "took_seconds", unit: :seconds)
    for _ <- 1..300, do: :ok = Metrics.observe(instance, "took_seconds", 0.25)
    stop_supervised!(instance)

    assert value(management, "counters", "shop.asked.#{instance}.ada") == 1_000
    assert value(management, "gauges", "shop.size.#{instance}") == 7
    # It has a list of the values, and how many each stands for beside it.
    assert asked(management, "timers") =~ "shop.took_seconds.#{instance}"
    assert value(management, "counters", "statsd.bad_lines_seen") == 0
  end

  defp started(folder) do
    [port, management] = for _ <- 1..2, do: TestHTTPSink.closed_port()
    config = Path.join(folder, "config.js")
    # It forgets at each flush, so it has none.
    File.write!(config, """
    { port: #{port}, address: "127.0.0.1", mgmt_port: #{management}, mgmt_address: "127.0.0.1",
      flushInterval: 3600000, backends: ["./backends/console"] }
    """)

    stats = Path.join(TestProgram.find("KANTOKU_STATSD"), "stats.js")
    node = System.find_executable("node")
    TestProgram.start(node, [stats, config], Path.join(folder, "log"), fn -> TestProgram.listens?(management) end)
    {port, management}
  end

  defp value(management, kind, name) do
    said = asked(management, kind)
    [_all, number] = Regex.run(~r/'#{Regex.escape(name)}': (-?[0-9.]+)/, said) || flunk("no #{name} in #{said}")
    number |> Float.parse() |> elem(0)
  end

  defp asked(management, what) do
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, management, [:binary, active: false])
    :ok = :gen_tcp.send(socket, what <> "\n")
    said = said(socket, "")
    :ok = :gen_tcp.close(socket)
    said
  end

  defp said(socket, seen) do
    if String.ends_with?(seen, "END\n\n") do
      seen
    else
      {:ok, more} = :gen_tcp.recv(socket, 0, 5_000)
      said(socket, seen <> more)
    end
  end
end
