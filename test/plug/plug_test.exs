if Code.ensure_loaded?(Plug.Conn) do
  defmodule Kantoku.PlugTest do
    use Kantoku.InstanceCase, async: false

    import Plug.Conn, only: [get_resp_header: 2, put_req_header: 3]
    import Plug.Test, only: [conn: 2]

    alias Kantoku.Api.{Feed, Sampler}
    alias Kantoku.{JSONReader, Metrics, OpenAPI, RawHTTP, Telemetry}

    @moduletag :plug
    @token "a-token-of-the-tests-0123456789"

    defp ask(method \\ :get, path, options) do
      conn = conn(method, path)
      conn = if options[:bring], do: put_req_header(conn, "authorization", "Bearer #{options[:bring]}"), else: conn
      Kantoku.Plug.call(conn, Kantoku.Plug.init(token: Keyword.get(options, :token, :none)))
    end

    test "serves the API as its description says, and what the library keeps" do
      instance = start!()
      document = OpenAPI.document()

      for path <- ~w(/api/v1/instances /api/v1/overview /api/v1/history/series /api/v1/openapi.json) do
        conn = ask("#{path}?instance=#{instance}", [])
        assert conn.status == 200 and conn.halted
        assert OpenAPI.misfits(document, OpenAPI.schema(document, path, 200), JSONReader.read!(conn.resp_body)) == []
      end

      assert %{status: 200, resp_body: page} = conn = ask("/metrics", [])
      assert page =~ "# TYPE kantoku_native_bytes gauge"
      assert ["text/plain; version=0.0.4" <> _] = get_resp_header(conn, "content-type")
      assert %{status: 400} = ask("/api/v1/history", [])
      assert %{status: 400} = ask("/api/v1/agents?q[nested]=1&instance=#{instance}", [])
      assert %{status: 404} = ask("/nothing", [])
    end

    test "tells what instances of either engine measured, and of the VM, as a listener does" do
      for engine <- Kantoku.EachEngine.engines() do
        instance = start!(engine: engine)
        :ok = Metrics.counter(instance, "asked", labels: [:of])
        :ok = Metrics.add(instance, "asked", 3, of: "ada")
        page = ask("/metrics", []).resp_body
        assert page =~ ~s(asked_total{instance="#{instance}",of="ada"} 3)
        assert [_once] = Regex.scan(~r/^# TYPE erlang_vm_memory_bytes gauge$/m, page)
        assert RawHTTP.value(page, ~s(erlang_vm_memory_bytes{kind="processes"})) > 0
        stop_supervised!(instance)
      end
    end

    test "has history grow without a listener, from its first request on" do
      instance = start!(pools: [[name: :writers, worker: {TestWorker, []}, target: 2]])
      ask("/api/v1/history/series", [])

      names =
        eventually(fn ->
          # Its own round is ten seconds.
          send(Sampler, {:timeout, :sys.get_state(Sampler).timer, :sample})
          names = JSONReader.read!(ask("/api/v1/history/series?instance=#{instance}", []).resp_body)["series"]
          "size" in names && names
        end)

      assert "agents" in names and "memory" in names
    end

    test "serves the page, which asks relative to where it is" do
      assert %{status: 200, resp_body: "<!doctype html>" <> _} = conn = ask("/", token: @token)
      assert [policy] = get_resp_header(conn, "content-security-policy")
      assert policy =~ "script-src 'self'"
      mounted = %{conn(:get, "/kantoku") | path_info: []}
      assert %{status: 308} = conn = Kantoku.Plug.call(mounted, Kantoku.Plug.init(token: :none))
      assert get_resp_header(conn, "location") == ["/kantoku/"]

      for name <- ~w(nothing.js ../Cargo.toml index.html),
          do: assert(%{status: 404} = ask("/assets/#{name}", token: @token))
    end

    @tag :tmp_dir
    test "is compiled anew when the page has other files", %{tmp_dir: folder} do
      refute Kantoku.Plug.__mix_recompile__?()
      assets = Path.expand("../../native/exporters/assets", __DIR__)
      File.cp_r!(assets, folder)
      refute Kantoku.Plug.__mix_recompile__?(folder)
      File.write!(Path.join(folder, "more.js"), "")
      assert Kantoku.Plug.__mix_recompile__?(folder)
    end

    test "lets in who brings the token, for what is not the page, and changes nothing" do
      for {bring, status} <- [{nil, 401}, {"another-token-0123456789", 401}, {@token, 200}],
          path <- ~w(/api/v1/instances /metrics),
          do: assert(%{status: ^status} = ask(path, token: @token, bring: bring))

      assert %{status: 200} = ask("/metrics", token: {String, :trim, [" #{@token}"]}, bring: @token)
      assert %{status: 401} = ask("/metrics", token: {String, :trim, [" "]}, bring: "")
      assert %{status: 405} = ask(:post, "/api/v1/instances", [])
      for bad <- [[], [token: "short"], [token: nil]], do: assert_raise(ArgumentError, fn -> Kantoku.Plug.init(bad) end)
    end

    defp reading(path, options \\ []) do
      task =
        Task.async(fn ->
          options = Map.merge(Kantoku.Plug.init(token: :none), Map.new(options))
          conn = Kantoku.Plug.call(conn(:get, path), options)
          {Plug.Adapters.Test.Conn, %{chunks: body}} = conn.adapter
          body
        end)

      eventually(fn -> match?({:monitors, [_ | _]}, Process.info(task.pid, :monitors)) end)
      task
    end

    test "lets so many read events, and no more" do
      start!()
      readers = for _ <- 1..32, do: reading("/events")
      assert %{status: 503, resp_body: body} = ask("/events", [])
      assert %{"error" => %{"reason" => "limit"}} = JSONReader.read!(body)
      [one | others] = readers
      Task.shutdown(one, :brutal_kill)
      eventually(fn -> map_size(:sys.get_state(Feed).readers) == 31 end)
      another = reading("/events")
      for task <- [another | others], do: Task.shutdown(task, :brutal_kill)
      eventually(fn -> :sys.get_state(Feed).readers == %{} end)
    end

    test "answers HEAD without a stream" do
      assert %{status: 200, resp_body: "", state: :sent} = conn = ask(:head, "/events", [])
      assert ["text/event-stream" <> _] = get_resp_header(conn, "content-type")
      assert :sys.get_state(Feed).readers == %{}
    end

    test "says a word in time on a stream for which nothing comes, whatever comes for others" do
      instance = start!()
      task = reading("/events?match=nothing", quiet: 100)

      for n <- 1..50 do
        Telemetry.emit(instance, [:agent, :unparked], %{parked_for: n}, %{id: "hopper", by: :timer})
        Process.sleep(10)
      end

      kill(Process.whereis(Feed))
      body = Task.await(task, 10_000)
      refute body =~ "hopper"
      assert length(Regex.scan(~r/^:$/m, body)) in 2..10
    end

    test "has something done by who brings the admin's token, and by nobody else" do
      instance = start!()
      worker!(instance, "ada")
      before = Kantoku.whereis(instance, "ada")
      path = "/api/v1/admin/restart?instance=#{instance}&key=#{Kantoku.Api.Shown.key("ada")}"
      admin = "an-admins-token-0123456789"

      act = fn bring, options ->
        conn =
          if bring, do: put_req_header(conn(:post, path), "authorization", "Bearer #{bring}"), else: conn(:post, path)

        Kantoku.Plug.call(conn, Kantoku.Plug.init(options))
      end

      for bring <- [nil, @token, admin], do: assert(%{status: 405, halted: true} = act.(bring, token: @token))
      both = [token: @token, admin_token: admin]

      for {bring, status} <- [{nil, 401}, {"no", 401}, {@token, 403}],
          do: assert(%{status: ^status} = act.(bring, both))

      for bring <- [nil, @token], do: assert(%{status: 401} = act.(bring, token: :none, admin_token: admin))
      assert %{status: 401} = ask("/metrics", token: @token, bring: admin)
      assert Kantoku.whereis(instance, "ada") == before
      assert %{status: 200, halted: true} = act.(admin, token: @token, admin_token: {String, :trim, [" #{admin}"]})
      assert Kantoku.whereis(instance, "ada") not in [before, nil]

      for bad <- [
            [token: @token, admin_token: @token],
            [token: @token, admin_token: "short"],
            [token: :none, admin_token: :none]
          ],
          do: assert_raise(ArgumentError, ~r/:admin_token/, fn -> Kantoku.Plug.init(bad) end)
    end

    test "streams events until Kantoku stops" do
      instance = start!()
      test = self()

      streaming =
        Task.async(fn ->
          conn = conn(:get, "/events?instance=#{instance}&match=agent.pa")
          conn = Kantoku.Plug.call(conn, Kantoku.Plug.init(token: :none))
          send(test, :ended)
          {Plug.Adapters.Test.Conn, %{chunks: body}} = conn.adapter
          body
        end)

      eventually(fn -> match?({:monitors, [_ | _]}, Process.info(streaming.pid, :monitors)) end)

      Telemetry.emit(instance, [:agent, :parked], %{crashes: 3, retry_in: 1_500}, %{
        domain: :default,
        id: "lovelace",
        reason: :crashed
      })

      Telemetry.emit(instance, [:agent, :unparked], %{parked_for: 7}, %{id: "hopper", by: :timer})

      eventually(fn ->
        {:messages, waiting} = Process.info(streaming.pid, :messages)
        not Enum.any?(waiting, &(elem(&1, 0) == :kantoku_event))
      end)

      refute_received :ended
      kill(Process.whereis(Feed))
      body = Task.await(streaming, 10_000)
      assert body =~ ": events\n\n" and body =~ ~s(event: agent.parked\ndata: ) and body =~ "lovelace"
      refute body =~ "hopper"
    end
  end
end
