defmodule Kantoku.Exporters.LifeTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  import Bitwise, only: [&&&: 2]
  import ExUnit.CaptureLog

  alias Kantoku.{Exporters, RawHTTP, Telemetry, TestHTTPSink}

  doctest Kantoku.Exporters

  describe "the listener" do
    test "is not there unless it is asked for" do
      start!()
      assert %{http: :off, exporters: []} = Exporters.status()
      assert RawHTTP.threads() == []
    end

    test "ends with its instance, and with it its threads and its port" do
      instance = start!(http: RawHTTP.options())
      port = RawHTTP.port()
      [idle, asking] = for _ <- 1..2, do: RawHTTP.connect(port)
      :ok = :gen_tcp.send(asking, "GET /metrics HTTP/1.1\r\n")
      stop_supervised!(instance)
      assert RawHTTP.threads() == []
      assert Exporters.status().http == :off
      for socket <- [idle, asking], do: assert(RawHTTP.read(socket, 5_000) == "")
      assert {:ok, socket} = :gen_tcp.listen(port, ip: {127, 0, 0, 1}, reuseaddr: true)
      :gen_tcp.close(socket)
    end

    test "is one for all instances, with the options of the first, until the last has ended" do
      first = start!(http: RawHTTP.options())
      port = RawHTTP.port()
      second = start!(http: RawHTTP.options(token: "another-token-0123456789"))
      assert RawHTTP.port() == port
      assert {200, _, page} = RawHTTP.get(port, "/metrics")
      for instance <- [first, second], do: assert(page =~ ~s(instance="#{instance}"))
      stop_supervised!(first)
      another = RawHTTP.port()
      assert {401, _, _} = RawHTTP.get(another, "/metrics")
      assert {200, _, _} = RawHTTP.get(another, "/livez")
      stop_supervised!(second)
      assert Exporters.status().http == :off
    end

    test "says whose other options it ignores" do
      same = start!(http: RawHTTP.options())
      again = start!(http: RawHTTP.options())
      assert Exporters.status().ignored == []

      log =
        capture_log(fn ->
          other = start!(http: RawHTTP.options(max_connections: 2))
          assert Exporters.status().ignored == [other]
          stop_supervised!(other)
        end)

      assert [_once] = Regex.scan(~r/other options :http of instance/, log)
      assert Exporters.status().ignored == []
      for instance <- [again, same], do: stop_supervised!(instance)
    end

    test "has the patience that its options say, whatever ran before it" do
      start!(exporters: [statsd: [port: TestHTTPSink.closed_port()]])
      assert [_ | _] = RawHTTP.threads()
      start!(http: RawHTTP.options(live_within: 300))
      port = RawHTTP.port()
      :sys.suspend(Exporters.Heart)
      eventually(fn -> match?({503, _, _}, RawHTTP.get(port, "/livez", token: false)) end)
      :sys.resume(Exporters.Heart)
      assert Exporters.Config.new!(RawHTTP.options(), []).http.live_within == 30_000
    end

    test "stays as it is for instances that want the same" do
      options = RawHTTP.options()
      [first, second] = for _ <- 1..2, do: start!(http: options)
      port = RawHTTP.port()
      stop_supervised!(first)
      assert RawHTTP.port() == port
      assert {200, _, _} = RawHTTP.get(port, "/readyz")
      stop_supervised!(second)
    end

    test "comes back when who keeps it is killed, and so does it when its instance is" do
      instance = start!(http: RawHTTP.options())
      kill(Process.whereis(Exporters.Keeper))
      eventually(&ready?/0)
      old = Kantoku.Instances.whereis_name(instance)
      kill(old)

      eventually(fn -> Kantoku.Instances.whereis_name(instance) not in [old, :undefined] and ready?() and serving?() end)
    end

    defp serving?, do: length(RawHTTP.threads()) == 2

    # It may come and go between two questions.
    defp ready? do
      match?({200, _, _}, RawHTTP.get(RawHTTP.port(), "/readyz"))
    rescue
      MatchError -> false
    catch
      :exit, _reason -> false
    end

    test "that finds its port taken stops nothing, tells it, and comes when that is free" do
      {:ok, other} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, port} = :inet.port(other)
      {:ok, _ref} = Telemetry.subscribe(:taken, events: [[:exporter]])
      start_supervised!({Kantoku, name: :taken, http: RawHTTP.options(port: port)})
      assert_receive {:kantoku_event, _, [:kantoku, :exporter, :refused], %{}, %{exporter: :http, reason: reason}}
      assert {:error, ^reason} = Exporters.status().http
      assert %Error{reason: :unavailable, details: %{what: :http, cause: :eaddrinuse}} = reason
      assert Exception.message(reason) =~ "127.0.0.1:#{port}"
      assert {:ok, _} = Kantoku.status(:taken)
      :gen_tcp.close(other)

      assert_receive {:kantoku_event, _, [:kantoku, :exporter, :started], %{}, %{exporter: :http, address: address}},
                     15_000

      assert address == "127.0.0.1:#{port}"
      assert {200, _, _} = RawHTTP.get(port, "/livez")
      stop_supervised!({Kantoku, :taken})
      assert_receive {:kantoku_event, _, [:kantoku, :exporter, :stopped], %{}, %{exporter: :http}}
    end
  end

  describe "a token file" do
    @describetag :tmp_dir

    test "is made where there is none, for its owner alone, and used again", %{tmp_dir: folder} do
      path = Path.join(folder, "new/token")
      instance = start!(http: [port: 0, token_file: path])
      token = path |> File.read!() |> String.trim()
      assert (File.stat!(path).mode &&& 0o777) == 0o600
      assert byte_size(token) == 64
      assert Exporters.status().http.token_file == path
      bearer = [token: false, headers: [{"authorization", "Bearer #{token}"}]]
      assert {200, _, _} = RawHTTP.get(RawHTTP.port(), "/metrics", bearer)
      stop_supervised!(instance)
      start!(http: [port: 0, token_file: path])
      assert {200, _, _} = RawHTTP.get(RawHTTP.port(), "/metrics", bearer)
      assert {401, _, _} = RawHTTP.get(RawHTTP.port(), "/metrics")
    end

    test "that others may read is refused, with what to do, and so is one with no token in it", %{tmp_dir: folder} do
      path = Path.join(folder, "token")

      for {text, mode, sentence} <- [
            {String.duplicate("t", 32), 0o640, ~r/others may read .*chmod 600/},
            {"short", 0o600, ~r/holds no token.*openssl rand/},
            {"with a space in its middle", 0o600, ~r/holds no token/}
          ] do
        File.write!(path, text)
        File.chmod!(path, mode)
        instance = start!(http: [port: 0, token_file: path])
        assert {:error, %Error{details: %{cause: :token}} = error} = Exporters.status().http
        assert Exception.message(error) =~ sentence
        refute Exception.message(error) =~ text
        stop_supervised!(instance)
      end
    end

    test "that is a pipe is refused, and waited for by nobody", %{tmp_dir: folder} do
      path = Path.join(folder, "pipe")
      {_, 0} = System.cmd("mkfifo", ["-m", "600", path])
      start!(http: [port: 0, token_file: path])
      assert {:error, %Error{details: %{cause: :token}} = error} = Exporters.status().http
      assert Exception.message(error) =~ "no regular file"
    end

    @tag skip: System.cmd("id", ["-u"]) != {"0\n", 0} && "only root can give a file away"
    test "of somebody else is refused", %{tmp_dir: folder} do
      path = Path.join(folder, "token")
      File.write!(path, String.duplicate("t", 32))
      File.chmod!(path, 0o600)
      :ok = File.chown(path, 12_345)
      start!(http: [port: 0, token_file: path])
      assert {:error, %Error{details: %{cause: :token}} = error} = Exporters.status().http
      assert Exception.message(error) =~ "is somebody else's"
    end

    test "that cannot be is told with its name", %{tmp_dir: folder} do
      File.write!(Path.join(folder, "file"), "")
      start!(http: [port: 0, token_file: Path.join(folder, "file/token")])
      assert {:error, %Error{details: %{cause: :token}} = error} = Exporters.status().http
      assert Exception.message(error) =~ "file/token can be neither read nor made"
    end
  end

  describe "options" do
    test "that are no good are refused by name, and a token is never shown" do
      for {http, expected} <- [
            {[port: 70_000], "option :port"},
            {[ip: "localhost"], "option :ip"},
            {[hosts: "x"], "option :hosts"},
            {[token: :secret_word], "option :token"},
            {[token: "secret_word_0123456789", token_file: "x"], ":token or :token_file"},
            {[tokn: "secret_word_0123456789"], "unknown option :tokn"},
            {%{token: "secret_word_0123456789"}, "expected a keyword list"},
            {"secret_word_0123456789", "expected a keyword list"},
            {[prot: 1], "unknown option :prot"}
          ] do
        error = assert_raise ArgumentError, fn -> Kantoku.start_link(name: Refused, http: http) end
        assert error.message =~ expected
        refute error.message =~ "secret_word"
      end

      for {exporters, expected} <- [
            {[graphite: []], "expected one of [:statsd, :dogstatsd, :otlp]"},
            {[statsd: [port: -1]], "option :port"},
            {[otlp: [headers: [key: "secret_word"]]], "option :headers"},
            {[otlp: [endpoint: "collector:4318"]], "option :endpoint"},
            {[otlp: [endpoint: "http://me:secret_word@collector:4318"]], "without a user and a password"},
            {[otlp: [endpoint: "me:secret_word@collector:4318"]], "without a user and a password"},
            {[otlp: [traces_endpoint: "https://secret_word@collector"]], "without a user and a password"},
            {[otlp: [header: "secret_word"]], "unknown option :header"},
            {%{otlp: [headers: [{"x", "secret_word"}]]}, "expected a keyword list"}
          ] do
        error = assert_raise ArgumentError, fn -> Kantoku.start_link(name: Refused, exporters: exporters) end
        assert error.message =~ expected
        refute error.message =~ "secret_word"
      end
    end

    test "may have the token in a function, whatever it returns" do
      instance = start!(http: [port: 0, token: fn -> RawHTTP.token() end])
      assert {200, _, _} = RawHTTP.get(RawHTTP.port(), "/metrics")
      stop_supervised!(instance)

      for bad <- [fn -> :none end, fn -> raise "no vault" end, fn -> throw(:no_vault) end, fn -> exit(:no_vault) end] do
        instance = start!(http: [port: 0, token: bad])
        assert {:error, %Error{details: %{cause: :token}}} = Exporters.status().http
        stop_supervised!(instance)
      end
    end
  end
end
