defmodule Kantoku.Exporters.HTTPTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Exporters, RawHTTP}

  @moduletag :exporters

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []))
    %{instance: instance, port: RawHTTP.port()}
  end

  describe "metrics" do
    test "are Prometheus' text, with the instance as a label", %{instance: instance, port: port} do
      assert {200, headers, page} = RawHTTP.get(port, "/metrics")
      assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
      assert page =~ ~r/^# TYPE kantoku_native_bytes gauge$/m
      assert RawHTTP.value(page, ~s(kantoku_native_bytes{instance="#{instance}",owner="names"}))
      refute page =~ "# EOF"
    end

    test "are OpenMetrics for who asks for it, and end", %{port: port} do
      accept = {"accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
      assert {200, headers, page} = RawHTTP.get(port, "/metrics", headers: [accept])
      assert headers["content-type"] =~ "application/openmetrics-text; version=1.0.0"
      assert String.ends_with?(page, "# EOF\n")
    end

    test "are packed for who takes that", %{port: port} do
      assert {200, %{"content-encoding" => "gzip"}, packed} =
               RawHTTP.get(port, "/metrics", headers: [{"accept-encoding", "deflate, gzip;q=1.0"}])

      assert :zlib.gunzip(packed) =~ "# TYPE kantoku_native_bytes gauge"
      assert {200, headers, _page} = RawHTTP.get(port, "/metrics", headers: [{"accept-encoding", "gzip;q=0"}])
      refute headers["content-encoding"]
    end

    test "count what was asked", %{port: port} do
      before = counted(port, 404)
      for _ <- 1..5, do: assert({404, _, _} = RawHTTP.get(port, "/nothing"))
      assert counted(port, 404) == before + 5
    end

    defp counted(port, code) do
      {200, _headers, page} = RawHTTP.get(port, "/metrics")
      RawHTTP.value(page, ~s(kantoku_exporter_http_requests_total{code="#{code}"})) || 0
    end
  end

  describe "probes" do
    test "need no token and say no more than yes", %{port: port} do
      for path <- ~w(/livez /readyz /startupz), do: assert({200, _, "ok\n"} = RawHTTP.get(port, path, token: false))
    end

    test "say that an instance that drains takes no more", %{instance: instance, port: port} do
      {:ok, _} = Kantoku.drain(instance)
      eventually(fn -> match?({503, _, "no\n"}, RawHTTP.get(port, "/readyz", token: false)) end)
      assert {200, _, _} = RawHTTP.get(port, "/livez", token: false)
      assert {200, _, _} = RawHTTP.get(port, "/startupz", token: false)
    end

    @tag http: [live_within: 300]
    test "say that a VM that fell silent neither lives nor is ready", %{port: port} do
      :sys.suspend(Exporters.Heart)
      eventually(fn -> match?({503, _, "no\n"}, RawHTTP.get(port, "/livez", token: false)) end)
      assert {503, _, _} = RawHTTP.get(port, "/readyz", token: false)
      :sys.resume(Exporters.Heart)
      eventually(fn -> match?({200, _, "ok\n"}, RawHTTP.get(port, "/livez", token: false)) end)
    end
  end

  describe "the token" do
    test "is wanted, whole and right, in its header and nowhere else", %{port: port} do
      token = RawHTTP.token()

      for headers <- [
            [],
            [{"authorization", "Bearer"}],
            [{"authorization", "Bearer "}],
            [{"authorization", "Bearer #{String.slice(token, 0..-2//1)}"}],
            [{"authorization", "Bearer #{token}x"}],
            [{"authorization", "Bearer #{token}#{token}"}],
            [{"authorization", "Bearer #{String.upcase(token)}"}],
            [{"authorization", "Basic #{Base.encode64("x:" <> token)}"}],
            [{"authorization", token}],
            [{"authorization", "Bearer #{token}"}, {"authorization", "Bearer #{token}"}],
            [{"cookie", "token=#{token}"}],
            [{"x-token", token}]
          ] do
        assert {401, %{"www-authenticate" => "Bearer"}, ""} =
                 RawHTTP.get(port, "/metrics", token: false, headers: headers)
      end

      for query <- ["token", "access_token"],
          do: assert({401, _, ""} = RawHTTP.get(port, "/metrics?#{query}=#{token}", token: false))

      assert {200, _, _} = RawHTTP.get(port, "/metrics", token: false, headers: [{"Authorization", "bearer #{token}"}])
    end

    test "is asked for before it is told which paths there are", %{port: port} do
      for path <- ~w(/nothing //assets/ /api /metrics/),
          do: assert({401, _, ""} = RawHTTP.get(port, path, token: false))
    end

    test "stands nowhere to be seen, nor do other secrets" do
      secret = RawHTTP.token()

      for options <- [
            [http: RawHTTP.options()],
            [http: Map.new(RawHTTP.options())],
            [http: [tokn: secret]],
            [http: secret],
            [exporters: [otlp: [headers: [{"x-api-key", secret}]]]],
            [exporters: [otlp: [header: secret]]],
            [exporters: [otlp: [endpoint: "http://me:#{secret}@collector:4318"]]],
            [exporters: [otlp: [endpoint: "http://collector:4318", traces_endpoint: "https://#{secret}@collector"]]],
            [exporters: [otpl: [headers: [{"x-api-key", secret}]]]],
            [exporters: [otlp: %{headers: [{"x-api-key", secret}]}]],
            [exporters: %{otlp: [headers: [{"x-api-key", secret}]]}]
          ],
          do: unseen(Kantoku.child_spec([name: Seen] ++ options), secret)

      start!(exporters: [otlp: [headers: [{"x-api-key", secret}], endpoint: "http://127.0.0.1:1"]])
      unseen([:sys.get_state(Exporters.Keeper), Exporters.Members.all(), Exporters.status()], secret)
    end

    defp unseen(term, secret) do
      refute inspect(term, limit: :infinity, printable_limit: :infinity, structs: false) =~ secret
      refute "~p" |> :io_lib.format([term]) |> to_string() =~ secret
    end
  end

  describe "a request" do
    test "under a foreign name is refused", %{port: port} do
      for host <- [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "",
            "localhost@evil",
            "[::2]"
          ] do
        assert {421, _, _} = RawHTTP.get(port, "/metrics", host: host)
        assert {421, _, _} = RawHTTP.get(port, "/livez", host: host, token: false)
      end

      for host <- ["localhost", "LocalHost:1", "127.0.0.1:#{port}", "[::1]:80", "127.1.2.3"],
          do: assert({200, _, _} = RawHTTP.get(port, "/metrics", host: host))

      assert {421, _, _} = RawHTTP.get(port, "/metrics", headers: [{"host", "localhost"}])
      assert {421, _, _} = RawHTTP.ask(port, "GET /livez HTTP/1.0\r\n\r\n")
      assert {400, _, _} = RawHTTP.get(port, "http://evil.example/metrics")
    end

    @tag http: [advertise: "Agents.internal:9464"]
    test "comes under the name that is told to others", %{port: port} do
      assert {200, _, _} = RawHTTP.get(port, "/metrics", host: "agents.internal:9464")
      assert {421, _, _} = RawHTTP.get(port, "/metrics", host: "agents.example:9464")
    end

    @tag http: [advertise: "[2001:db8::7]:9464"]
    test "comes under the address that is told to others", %{port: port} do
      assert {200, _, _} = RawHTTP.get(port, "/metrics", host: "[2001:db8::7]:9464")
    end

    @tag http: [hosts: ["metrics.internal"]]
    test "comes under names that the option has", %{port: port} do
      assert {200, _, _} = RawHTTP.get(port, "/metrics", host: "Metrics.Internal:#{port}")
      assert {421, _, _} = RawHTTP.get(port, "/metrics", host: "other.internal")
    end

    test "reads, or is refused", %{port: port} do
      for method <- ~w(POST PUT DELETE PATCH OPTIONS TRACE BREW) do
        assert {405, headers, ""} = RawHTTP.get(port, "/metrics", method: method)
        assert headers["allow"] == "GET, HEAD"
        refute Enum.any?(Map.keys(headers), &String.starts_with?(&1, "access-control"))
      end

      assert {200, _, ""} = RawHTTP.get(port, "/metrics", method: "HEAD")
    end

    test "finds no way round by its path", %{port: port} do
      for path <-
            ~w(/metrics/ //metrics /%6detrics /livez/../metrics /livez/..%2fmetrics /./metrics /metrics;x /metrics%00
                     /METRICS /livez/metrics /..%2f..%2fetc/passwd) do
        assert {401, _, ""} = RawHTTP.get(port, path, token: false)
        assert {404, _, ""} = RawHTTP.get(port, path)
      end
    end

    test "is answered with what keeps browsers from harm, whatever the answer", %{port: port} do
      for {path, opts} <- [{"/metrics", []}, {"/metrics", [token: false]}, {"/x", []}, {"/livez", [host: "evil"]}] do
        {_status, headers, _body} = RawHTTP.get(port, path, opts)
        assert headers["content-security-policy"] =~ "default-src 'none'"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
      end
    end
  end
end
