defmodule Kantoku.Exporters.OtherVMTest do
  # What ends a VM, holds all of its schedulers, or goes on over an upgrade of the library.
  use ExUnit.Case, async: true

  import Kantoku.TestOwner, only: [eventually: 1, eventually: 2]

  alias Kantoku.{Exporters, ExportingVM, Native, OtherVM, RawHTTP, Telemetry, Variants}

  @moduletag timeout: 300_000

  test "answers while every scheduler is busy, and says then that the VM does not live" do
    vm = OtherVM.start()
    port = exported(vm, live_within: 1_000)
    # What is asked of it by way of its schedulers has no answer until then.
    :peer.cast(vm, ExportingVM, :keep_busy, [4_000])
    eventually(fn -> match?({503, _, _}, RawHTTP.get(port, "/livez", token: false)) end)
    assert {200, _, page} = RawHTTP.get(port, "/metrics")
    assert page =~ "kantoku_native_bytes"
    assert {200, _, _} = RawHTTP.get(port, "/", token: false)
    assert {503, _, _} = RawHTTP.get(port, "/api/v1/instances")
    assert {200, _, history} = RawHTTP.get(port, "/api/v1/history?series=agents&instance=exported")
    assert history =~ ~s("name":"agents")
    assert {200, _, _} = RawHTTP.get(port, "/startupz", token: false)
    # And lives on.
    eventually(fn -> match?({200, _, _}, RawHTTP.get(port, "/livez", token: false)) end, 1_500)
    OtherVM.stop(vm)
  end

  test "goes on over an upgrade of the library, and is started anew after it" do
    # Built before, as that may take longer than a connection may say nothing.
    for which <- [:variant, :plain], do: Variants.path(which)
    vm = OtherVM.start()
    port = exported(vm, [header_timeout: 120_000, connection_lifetime: 120_000] ++ exporting(hanging()))
    socket = RawHTTP.connect(port)
    stream = stream(port)

    for which <- [:variant, :plain] do
      assert {:module, Native} = upgrade(vm, which)
      build = "#{which}"
      assert {:ok, {^build, _layout}} = OtherVM.run(vm, {Native, :status, []})
      assert {200, _, _} = RawHTTP.get(port, "/metrics")
      # Who read events reads on.
      :ok =
        OtherVM.run(
          vm,
          {Telemetry, :emit, [:exported, [:agent, :unparked], %{parked_for: 7}, %{id: build, by: :timer}]}
        )

      assert RawHTTP.until(stream, "", ~s("#{build}")) =~ "event: agent.unparked"
    end

    :gen_tcp.close(stream)
    :ok = :gen_tcp.send(socket, "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert RawHTTP.read(socket, 5_000) =~ "200 OK"
    # Ended and begun by the library that serves now.
    eventually(fn -> match?(%{connections: 0}, OtherVM.run(vm, {Exporters, :status, []})) end)
    OtherVM.run(vm, {Supervisor, :stop, [{:via, Kantoku.Instances, :exported}]})
    assert RawHTTP.threads(os_pid(vm)) == []
    another = exported(vm)
    assert {200, _, _} = RawHTTP.get(another, "/metrics")
    eventually(fn -> length(RawHTTP.threads(os_pid(vm))) == 2 end)
    OtherVM.stop(vm)
  end

  test "ends with the application, instances or not" do
    vm = OtherVM.start()
    collector = hanging()
    port = exported(vm, exporting(collector))
    open = RawHTTP.connect(port)
    stream = stream(port)
    under_way(collector)
    :ok = OtherVM.run(vm, {Application, :stop, [:kantoku]})
    assert RawHTTP.read(stream, 5_000) != :timeout
    assert RawHTTP.threads(os_pid(vm)) == []
    assert {:error, :econnrefused} = :gen_tcp.connect({127, 0, 0, 1}, port, [])
    assert RawHTTP.read(open, 5_000) == ""
    assert {:ok, listener} = :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true)
    :gen_tcp.close(listener)
    OtherVM.stop(vm)
  end

  test "is there again, at its port, whenever the application and its instance are" do
    vm = OtherVM.start()
    port = exported(vm)

    for _ <- 1..3 do
      open = RawHTTP.connect(port)
      OtherVM.run(vm, {Supervisor, :stop, [{:via, Kantoku.Instances, :exported}]})
      :ok = OtherVM.run(vm, {Application, :stop, [:kantoku]})
      assert RawHTTP.threads(os_pid(vm)) == []
      {:ok, _} = OtherVM.run(vm, {Application, :ensure_all_started, [:kantoku]})
      assert exported(vm, port: port) == port
      assert {200, _, _} = RawHTTP.get(port, "/metrics")
      assert RawHTTP.read(open, 5_000) == ""
    end

    OtherVM.stop(vm)
  end

  test "is ended by the library when all who kept it were killed" do
    vm = OtherVM.start()
    exported(vm)
    OtherVM.run(vm, {ExportingVM, :kill_all, []})
    eventually(fn -> RawHTTP.threads(os_pid(vm)) == [] end)
    OtherVM.stop(vm)
  end

  test "ends with its VM, however that ends, with connections open and requests under way" do
    for ending <- [{:init, :stop, []}, {:erlang, :halt, [0]}, {:erlang, :halt, [0, [flush: false]]}, :term],
        _ <- 1..3 do
      vm = OtherVM.start()
      collector = hanging()
      port = exported(vm, exporting(collector))
      sockets = for _ <- 1..5, do: RawHTTP.connect(port)
      for socket <- tl(sockets), do: :ok = :gen_tcp.send(socket, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n")
      streams = for _ <- 1..3, do: stream(port)
      under_way(collector)
      pid = os_pid(vm)
      Process.unlink(vm)
      finish(vm, pid, ending)
      eventually(fn -> not File.exists?("/proc/#{pid}") end, 2_000)
      for socket <- sockets, do: assert(RawHTTP.read(socket, 5_000) == "")
      for socket <- streams, do: assert(RawHTTP.read(socket, 5_000) != :timeout)
      assert {:ok, listener} = :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true)
      :gen_tcp.close(listener)
    end
  end

  defp finish(_vm, pid, :term), do: System.cmd("kill", ["-TERM", "#{pid}"])
  defp finish(vm, _pid, {module, function, arguments}), do: :peer.cast(vm, module, function, arguments)

  test "without a library there is none, and it is said why, while the instance runs" do
    path = Path.join(System.tmp_dir!(), "kantoku-#{System.unique_integer([:positive])}.so")
    File.write!(path, "no library at all")
    vm = OtherVM.start({:persistent_term, :put, [{Native, :library}, path]})
    start(vm, engine: :elixir, exporters: [statsd: []])

    assert %{http: {:error, error}, exporters: [%{kind: :statsd, error: other}]} =
             OtherVM.run(vm, {Exporters, :status, []})

    assert error.details.cause == :no_library and other.details.cause == :no_library
    assert Exception.message(error) =~ "exporters need the native library"
    assert {:ok, _} = OtherVM.run(vm, {Kantoku, :status, [:exported]})
    OtherVM.stop(vm)
    File.rm!(path)
  end

  defp start(vm, options) do
    {http, options} = Keyword.split(options, [:port, :live_within, :header_timeout, :connection_lifetime])
    options = Keyword.merge([name: :exported, http: RawHTTP.options(http)], options)
    {:ok, _pid} = OtherVM.run(vm, {ExportingVM, :start, [options]})
  end

  defp exported(vm, options \\ []) do
    start(vm, options)
    OtherVM.run(vm, {RawHTTP, :port, []})
  end

  # A collector that is reached and never answers.
  defp hanging do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, ip: {127, 0, 0, 1}, active: false, backlog: 64])
    listener
  end

  # All exporters at once, which soon wait for it.
  defp exporting(collector) do
    {:ok, port} = :inet.port(collector)
    otlp = [endpoint: "http://127.0.0.1:#{port}", interval: 20, traces_interval: 20, timeout: 60_000]
    datagrams = [port: port, interval: 20]
    [exporters: [otlp: otlp, statsd: datagrams, dogstatsd: datagrams]]
  end

  # Waits until a request has come whole.
  defp under_way(collector) do
    {:ok, socket} = :gen_tcp.accept(collector, 20_000)
    assert {:ok, "POST /v1/metrics HTTP/1.1" <> _} = :gen_tcp.recv(socket, 0, 20_000)
  end

  # A stream of events that is open.
  defp stream(port) do
    {socket, "HTTP/1.1 200 OK" <> _} = RawHTTP.events(port)
    socket
  end

  defp os_pid(vm), do: OtherVM.run(vm, {System, :pid, []})

  defp upgrade(vm, which) do
    OtherVM.run(vm, {:persistent_term, :put, [{Native, :library}, Variants.path(which)]})
    OtherVM.run(vm, {:code, :purge, [Native]})
    OtherVM.run(vm, {:code, :load_file, [Native]})
  end
end
