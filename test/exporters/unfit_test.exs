defmodule Kantoku.Exporters.UnfitTest do
  # Exporters are the VM's.
  use Kantoku.InstanceCase, async: false

  import ExUnit.CaptureLog

  alias Kantoku.{Exporters, ExportingVM, RawHTTP}
  alias Kantoku.Exporters.Keeper

  @bytes <<"secret_word_0123456789", 255>>
  @latin <<"secret_word", 233>>

  describe "what the library would not take is refused by name, and never said:" do
    for {name, value} <- [
          token: @bytes,
          token: "secret_word 0123456789",
          token: "secret_word",
          admin_token: "secret_word",
          token_file: <<"secret_word", 0>>,
          hosts: [@latin],
          hosts: ["a host"],
          advertise: "10.0.0.7",
          advertise: "10.0.0.7:0",
          max_connections: 4_294_967_296,
          max_header_bytes: 4_294_967_296,
          header_timeout: 1_099_511_627_777,
          request_timeout: 1_099_511_627_777,
          connection_lifetime: 1_099_511_627_777,
          live_within: 1_099_511_627_777
        ] do
      test "http: #{name}: #{inspect(value)}" do
        error =
          assert_raise ArgumentError, fn -> Kantoku.start_link(name: Unfit, http: [{unquote(name), unquote(value)}]) end

        assert error.message =~ "option :#{unquote(name)}: expected"
        if unquote(name) in [:token, :admin_token], do: refute(error.message =~ "secret_word")
      end
    end

    for {kind, name, value} <- [
          {:statsd, :host, @latin},
          {:statsd, :prefix, @latin},
          {:statsd, :interval, 1_099_511_627_777},
          {:otlp, :headers, [{"authorization", "secret_word\r\nx: y"}]},
          {:otlp, :headers, [{"authorization", @latin}]},
          {:otlp, :headers, [{"a name", "secret_word"}]},
          {:otlp, :headers, [{"", "secret_word"}]},
          {:otlp, :headers, ["secret_word"]},
          {:otlp, :resource, [{"service.name", @latin}]},
          {:otlp, :endpoint, @latin},
          {:otlp, :interval, 1_099_511_627_777},
          {:otlp, :traces_interval, 1_099_511_627_777},
          {:otlp, :timeout, 1_099_511_627_777},
          {:otlp, :cacertfile, @latin}
        ] do
      test "#{kind}: #{name}: #{inspect(value)}" do
        exporters = [{unquote(kind), [{unquote(name), unquote(Macro.escape(value))}]}]
        error = assert_raise ArgumentError, fn -> Kantoku.start_link(name: Unfit, exporters: exporters) end
        assert error.message =~ "option :#{unquote(name)}: expected"
        if unquote(name) == :headers, do: refute(error.message =~ "secret_word")
      end
    end

    test "the most of all is taken" do
      most = 1_099_511_627_776
      times = for name <- ~w(header_timeout request_timeout connection_lifetime live_within)a, do: {name, most}
      start!(http: RawHTTP.options([max_connections: 4_294_967_295, max_header_bytes: 4_294_967_295] ++ times))
      assert {200, _, _} = RawHTTP.get(RawHTTP.port(), "/metrics")
    end
  end

  describe "a function of a user that" do
    test "returns no token is told, and costs nobody anything" do
      keeper = Process.whereis(Keeper)

      for {unfit, why} <- [
            {fn -> @bytes end, "did not return 16 to 512 visible"},
            {fn -> "secret_word" end, "did not return"},
            {fn -> raise "secret_word" end, "failed"},
            {fn -> Process.exit(self(), :kill) end, "was killed"}
          ] do
        log =
          capture_log(fn ->
            instance = start!(http: [port: 0, token: unfit])
            assert {:error, %Error{details: %{what: :http, cause: :token}} = error} = Exporters.status().http
            assert Exception.message(error) =~ "its :token #{why}"
            refute Exception.message(error) =~ "secret_word"
            stop_supervised!(instance)
          end)

        refute log =~ "secret_word"
      end

      assert Process.whereis(Keeper) == keeper
    end

    test "returns no headers is told likewise" do
      keeper = Process.whereis(Keeper)

      for unfit <- [[{"authorization", @latin}], [{"a name", "secret_word"}], [{"x", "secret_word\n"}], "secret_word"] do
        log =
          capture_log(fn ->
            instance = start!(exporters: [otlp: [headers: fn -> unfit end, signals: [:metrics]]])
            assert [%{kind: :otlp, error: %Error{details: %{cause: :headers}} = error}] = Exporters.status().exporters
            assert Exception.message(error) =~ "its :headers did not return pairs of strings"
            stop_supervised!(instance)
          end)

        refute log =~ "secret_word"
      end

      assert Process.whereis(Keeper) == keeper
    end

    test "does not return is given up, and the VM lives meanwhile" do
      start!(http: RawHTTP.options(live_within: 1_500))
      port = RawHTTP.port()
      hanging = fn -> Process.sleep(:infinity) end
      exporter = [otlp: [headers: hanging, signals: [:metrics]]]
      starting = Task.async(fn -> ExportingVM.start(name: :hanging, exporters: exporter) end)
      {statuses, {:ok, instance}} = asked_until(starting, port, [])
      assert Enum.uniq(statuses) == [200]
      assert length(statuses) > 10
      assert [%{kind: :otlp, error: error}] = Exporters.status().exporters
      assert Exception.message(error) =~ "its :headers did not return within 2000 ms"
      Supervisor.stop(instance)
    end

    defp asked_until(task, port, statuses) do
      {status, _, _} = RawHTTP.get(port, "/livez", token: false)

      case Task.yield(task, 50) do
        nil -> asked_until(task, port, [status | statuses])
        {:ok, started} -> {[status | statuses], started}
      end
    end
  end

  test "an argument that the library refuses all the same ends nobody, and is not in what is said of it" do
    unfit = %{
      port: 0,
      ip: {127, 0, 0, 1},
      token: {:file, @bytes},
      hosts: [],
      admin: nil,
      advertise: nil,
      max_connections: 1,
      max_header_bytes: 1,
      header_timeout: 1,
      request_timeout: 1,
      connection_lifetime: 1,
      live_within: 1
    }

    assert {:error, %Error{reason: :unavailable, details: %{cause: :argument}} = error} = Exporters.Native.listen(unfit)
    refute inspect(error, binaries: :as_strings) =~ "secret_word"
  end
end
