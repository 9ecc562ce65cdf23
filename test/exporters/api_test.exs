defmodule Kantoku.Exporters.ApiTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Api, JSONReader, OpenAPI, RawHTTP}
  alias Kantoku.Api.Shown

  setup context do
    instance = start!(http: RawHTTP.options(context[:http] || []), health: [period: 50])
    %{instance: instance, port: RawHTTP.port()}
  end

  describe "the API" do
    test "answers as its description says, and keeps nothing", %{instance: instance, port: port} do
      worker!(instance, "ada", tags: ["gpu"])
      document = OpenAPI.document()

      for path <- Api.paths() do
        key = Shown.key("ada")

        assert {200, headers, body} =
                 RawHTTP.get(port, "#{path}?instance=#{instance}&key=#{key}&q=tag%3Agpu+-%22a%20b%22")

        assert headers["content-type"] == "application/json" and headers["cache-control"] == "no-store"
        assert OpenAPI.misfits(document, OpenAPI.schema(document, path, 200), JSONReader.read!(body)) == []
      end
    end

    test "wants the token before all else", %{port: port} do
      for path <- ["/api/v1/instances", "/api/v1/nothing", "/api"],
          do: assert({401, %{"www-authenticate" => "Bearer"}, ""} = RawHTTP.get(port, path, token: false))
    end

    test "names what was wrong", %{port: port} do
      for {path, status} <- [
            {"/api/v1/nothing", 404},
            {"/api/v1/agents/", 404},
            {"/api/v1//agents", 404},
            {"/api/v1/agents?limit=many", 400},
            {"/api/v1/agents?q=%ff", 400},
            {"/api/v1/agents?instance=nobody", 404}
          ] do
        assert {^status, %{"content-type" => "application/json"}, body} = RawHTTP.get(port, path)
        assert %{"error" => %{"reason" => _, "message" => _}} = JSONReader.read!(body)
      end
    end

    test "is answered again when who answers was killed", %{port: port} do
      kill(Process.whereis(Api.Server))
      eventually(fn -> match?({200, _, _}, RawHTTP.get(port, "/api/v1/instances")) end)
    end

    test "is refused in time while nobody answers, and what waits is bounded", %{port: port} do
      :sys.suspend(Api.Server)
      asked = for _ <- 1..60, do: Task.async(fn -> RawHTTP.get(port, "/api/v1/instances") end)
      for {503, _, body} <- Task.await_many(asked, 30_000), do: assert(body =~ ~s("reason":"unavailable"))
      asked = for _ <- 1..60, do: Task.async(fn -> RawHTTP.get(port, "/api/v1/instances") end)
      for answer <- Task.await_many(asked, 30_000), do: assert({503, _, _} = answer)
      {:message_queue_len, waiting} = Process.info(Process.whereis(Api.Server), :message_queue_len)
      assert waiting <= 64 + 2
      assert {200, _, _} = RawHTTP.get(port, "/livez")
      :sys.resume(Api.Server)
      eventually(fn -> match?({200, _, _}, RawHTTP.get(port, "/api/v1/instances")) end)
    end
  end

  describe "who answers" do
    # Where this VM is served, its keeper says; and it is waited for.
    defp slowly(fun) do
      keeper = Process.whereis(Kantoku.Exporters.Keeper)
      :sys.suspend(keeper)
      fun.("/api/v1/endpoints")
    after
      :sys.resume(Kantoku.Exporters.Keeper)
    end

    defp answering, do: elem(Process.info(Process.whereis(Api.Server), :monitors), 1)

    test "are never more than may be asked at once, and none is left", %{port: port} do
      slowly(fn slow ->
        asked = for _ <- 1..60, do: Task.async(fn -> RawHTTP.get(port, slow) end)
        eventually(fn -> length(answering()) > 10 end)
        seen = Enum.map(1..50, fn _ -> length(answering()) end)
        for {status, _, _} <- Task.await_many(asked, 30_000), do: assert(status in [200, 503])
        assert Enum.max(seen) <= 64
      end)

      eventually(fn -> answering() == [] end)
    end

    test "end with the server that was asked", %{port: port} do
      slowly(fn slow ->
        asked = for _ <- 1..8, do: Task.async(fn -> RawHTTP.get(port, slow) end)
        pids = eventually(fn -> for({:process, pid} <- answering(), do: pid) |> several() end)
        refs = Enum.map(pids, &Process.monitor/1)
        kill(Process.whereis(Api.Server))
        for ref <- refs, do: assert_receive({:DOWN, ^ref, :process, _pid, :killed}, 400)
        for {status, _, _} <- Task.await_many(asked, 30_000), do: assert(status in [200, 503])
      end)
    end

    defp several([_, _ | _] = found), do: found
    defp several(_fewer), do: nil
  end

  test "the largest page of agents is no larger than a megabyte", %{instance: instance, port: port} do
    for n <- 1..200, do: worker!(instance, {n, String.duplicate("ä", 490)}, tags: [String.duplicate("t", 255)])
    assert {200, _, body} = RawHTTP.get(port, "/api/v1/agents?instance=#{instance}&limit=200")
    assert length(JSONReader.read!(body)["agents"]) == 200 and byte_size(body) < 1_000_000
  end

  describe "history" do
    test "is there again when its instance is", %{port: port} do
      asked = "/api/v1/history?series=agents&range=300&instance="
      most = fn body -> body["series"] |> Enum.flat_map(& &1["points"]) |> Enum.max(fn -> nil end) end
      options = [http: RawHTTP.options()]
      instance = start!(options)
      name = Atom.to_string(instance)
      eventually(fn -> history(port, "/api/v1/history", asked <> name)["series"] != [] end)
      # As its sampler would, of many agents.
      _ = Kantoku.Native.exporters_note(name, "agents", 1.0e9)
      assert most.(history(port, "/api/v1/history", asked <> name)) >= 1.0e6
      stop_supervised!(instance)
      start_supervised!({Kantoku, [name: instance] ++ options}, id: :again)
      assert most.(history(RawHTTP.port(), "/api/v1/history", asked <> name)) >= 1.0e6
      stop_supervised!(:again)

      # And without a listener, as `Kantoku.Plug` asks.
      start_supervised!({Kantoku, name: instance}, id: :third)
      assert {:ok, body} = Kantoku.Native.exporters_history(:courses, "series=agents&range=300&instance=" <> name)
      assert most.(JSONReader.read!(body)) >= 1.0e6
    end

    test "tells what is found, as its description says, without the VM", %{instance: instance, port: port} do
      {:ok, _} = Kantoku.Pool.start(instance, name: :writers, worker: {TestWorker, []}, target: 2)
      :sys.suspend(Api.Server)
      asked = "/api/v1/history?instance=#{instance}&series=size%2Cagents,memory&range=60"

      [%{"name" => "agents"}, %{"name" => "memory"}] =
        eventually(fn ->
          history(port, "/api/v1/history", asked)["series"] |> Enum.reject(&(&1["name"] == "size")) |> two()
        end)

      assert %{"step" => 10, "from" => from, "series" => series} = history(port, "/api/v1/history", asked)
      for %{"points" => points} <- series, do: assert(length(points) == 6)
      assert_in_delta from, System.os_time(:second) - 60, 30

      assert "memory" in history(port, "/api/v1/history/series", "/api/v1/history/series?instance=#{instance}")[
               "series"
             ]

      :sys.resume(Api.Server)
    end

    defp two([_, _] = both), do: both
    defp two(_fewer), do: nil

    defp history(port, path, asked) do
      assert {200, %{"content-type" => "application/json"}, body} = RawHTTP.get(port, asked)
      body = JSONReader.read!(body)
      document = OpenAPI.document()
      assert OpenAPI.misfits(document, OpenAPI.schema(document, path, 200), body) == []
      body
    end

    test "says what is wrong with a question", %{port: port} do
      for query <- ["", "?series=", "?series=p99&range=0", "?series=p99&range=604801", "?series=p99&range=week"] do
        assert {400, _, body} = RawHTTP.get(port, "/api/v1/history" <> query)
        assert %{"error" => %{"reason" => "bad_request"}} = JSONReader.read!(body)
      end

      assert {200, _, body} = RawHTTP.get(port, "/api/v1/history?series=nobody,%22&instance=nobody")
      assert %{"series" => []} = JSONReader.read!(body)
      assert {401, _, _} = RawHTTP.get(port, "/api/v1/history?series=p99", token: false)
    end
  end

  describe "the page" do
    test "is there for everybody, and may do no more than it has to", %{port: port} do
      assert {200, headers, page} = RawHTTP.get(port, "/", token: false)
      assert headers["content-type"] == "text/html; charset=utf-8" and page =~ "<html"

      assert headers["content-security-policy"] =~
               "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"

      assert headers["x-content-type-options"] == "nosniff"
      assert {421, _, _} = RawHTTP.get(port, "/", token: false, host: "evil.example")
    end

    test "has no files but its own", %{port: port} do
      for name <- [
            "nothing.js",
            "../Cargo.toml",
            "%2e%2e/Cargo.toml",
            "..%2fCargo.toml",
            "index.html",
            "/etc/passwd",
            "vendor/",
            "%00"
          ],
          do: assert({name, elem(RawHTTP.get(port, "/assets/#{name}", token: false), 0)} in [{name, 400}, {name, 404}])
    end
  end
end
