defmodule Kantoku.Exporters.AdminTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.Api.Shown
  alias Kantoku.{Exporters, JSONReader, OpenAPI, RawHTTP, Telemetry}

  @admin "an-admins-token-of-the-tests-0123456789"

  setup context do
    http = if context[:admin] == false, do: [], else: [admin_token: @admin]
    domains = [[name: :default, backoff: [base: 5, cap: 5], budget: [crashes: 1], unpark: :never]]
    instance = start!(http: RawHTTP.options(http), domains: domains)
    {:ok, _ref} = Telemetry.subscribe(instance, events: [[:api]])
    %{instance: instance, port: RawHTTP.port()}
  end

  defp post(port, path, token \\ @admin) do
    bearer =
      if token, do: [{"authorization", "Bearer #{token}"}, {"content-length", "0"}], else: [{"content-length", "0"}]

    RawHTTP.get(port, "/api/v1/admin/#{path}", method: "POST", token: false, headers: bearer)
  end

  defp body!({status, _headers, body}, path) do
    body = JSONReader.read!(body)
    document = OpenAPI.document()
    schema = OpenAPI.schema(document, "/api/v1/admin/#{path}", status, "post")
    assert OpenAPI.misfits(document, schema, body) == []
    body
  end

  defp asked(instance, id), do: "instance=#{instance}&key=#{Shown.key(id)}"

  @tag admin: false
  test "nobody may do anything unless an instance says so", %{port: port, instance: instance} do
    refute Exporters.status().http.admin

    for token <- [@admin, RawHTTP.token(), nil], name <- ~w(unpark restart drain nothing) do
      assert {405, %{"allow" => "GET, HEAD"}, ""} = post(port, "#{name}?#{asked(instance, "ada")}", token)
      assert {404, _, _} = RawHTTP.get(port, "/api/v1/admin/#{name}")
    end
  end

  test "only the admin's token opens it, and it opens nothing else", %{port: port, instance: instance} do
    assert Exporters.status().http.admin
    worker!(instance, "ada")
    path = "restart?" <> asked(instance, "ada")
    pid = Kantoku.whereis(instance, "ada")

    for {token, status} <- [{nil, 401}, {"another-token-0123456789", 401}, {@admin <> "x", 401}, {RawHTTP.token(), 403}],
        do: assert({^status, _, ""} = post(port, path, token))

    assert {401, _, _} = RawHTTP.get(port, "/metrics", token: false, headers: [{"authorization", "Bearer #{@admin}"}])
    assert {421, _, _} = RawHTTP.get(port, "/api/v1/admin/" <> path, method: "POST", host: "evil.example")
    assert {405, _, _} = RawHTTP.get(port, "/api/v1/admin/restart")

    for method <- ~w(PUT DELETE PATCH),
        path <- ["/api/v1/admin/restart", "/api/v1/instances"],
        do: assert({405, _, ""} = RawHTTP.get(port, path, method: method))

    assert {405, _, ""} = RawHTTP.get(port, "/api/v1/instances", method: "POST")
    assert Kantoku.whereis(instance, "ada") == pid
    refute_received {:kantoku_event, _, [:kantoku, :api, :admin], _, _}
  end

  test "restarts an agent, and tells that", %{port: port, instance: instance} do
    worker!(instance, "ada")
    before = Kantoku.whereis(instance, "ada")

    assert %{"done" => true, "action" => "restart", "id" => "ada"} =
             body!(post(port, "restart?" <> asked(instance, "ada")), "restart")

    assert Kantoku.whereis(instance, "ada") not in [before, nil]
    assert_receive {:kantoku_event, _, [:kantoku, :api, :admin], %{duration: took}, said}
    assert %{action: :restart, id: "ada", result: :ok} = said
    assert is_integer(took)
    refute inspect(said) =~ @admin
  end

  @tag capture_log: true
  test "brings a parked agent back, and says so where none is", %{port: port, instance: instance} do
    worker!(instance, "ada")
    path = "unpark?" <> asked(instance, "ada")
    assert %{"error" => %{"reason" => "not_parked"}} = body!({409, _, _} = post(port, path), "unpark")
    assert_receive {:kantoku_event, _, [:kantoku, :api, :admin], _, %{action: :unpark, result: :not_parked}}
    replaced!(instance, "ada")
    kill(Kantoku.whereis(instance, "ada"))
    eventually_error(instance, "ada", :parked)
    assert %{"done" => true} = body!({200, _, _} = post(port, path), "unpark")
    eventually(fn -> Kantoku.whereis(instance, "ada") end)
    assert_receive {:kantoku_event, _, [:kantoku, :api, :admin], _, %{action: :unpark, result: :ok}}
  end

  test "drains an instance, and says at once that this goes on", %{port: port, instance: instance} do
    worker!(instance, "ada", trap: true, linger: 3_000)
    assert %{"done" => false} = body!({202, _, _} = post(port, "drain?instance=#{instance}"), "drain")
    assert {503, _, _} = RawHTTP.get(port, "/readyz", token: false)
    refute_received {:kantoku_event, _, [:kantoku, :api, :admin], _, _}
    assert_receive {:kantoku_event, _, [:kantoku, :api, :admin], _, %{action: :drain, id: nil, result: :ok}}, 10_000
  end

  test "names what was wrong", %{port: port, instance: instance} do
    for {path, status} <- [
          {"restart", 400},
          {"restart?instance=#{instance}", 400},
          {"restart?instance=#{instance}&key=x", 400},
          {"drain", 400},
          {"drain?instance=nobody", 404},
          {"unpark?" <> asked(instance, "nobody"), 404}
        ] do
      [name | _] = String.split(path, "?")
      assert %{"error" => %{"reason" => _, "message" => _}} = body!({^status, _, _} = post(port, path), name)
    end

    assert {404, _, _} = post(port, "nothing?instance=#{instance}")
  end

  @tag :tmp_dir
  test "the token may stand in a file, and is another one than who reads has", %{tmp_dir: folder, instance: instance} do
    stop_supervised!(instance)
    path = Path.join(folder, "admin")
    instance = start!(http: RawHTTP.options(admin_token_file: path))
    assert {:ok, %{mode: mode}} = File.stat(path)
    assert Bitwise.band(mode, 0o777) == 0o600
    token = path |> File.read!() |> String.trim()
    assert {404, _, _} = post(RawHTTP.port(), "unpark?" <> asked(instance, "nobody"), token)
    stop_supervised!(instance)

    for same <- [[admin_token: RawHTTP.token()], [admin_token: fn -> RawHTTP.token() end]] do
      instance = start!(http: RawHTTP.options(same))
      assert {:error, %Error{details: %{cause: :token}} = error} = Exporters.status().http
      assert Exception.message(error) =~ "have two"
      refute Exception.message(error) =~ RawHTTP.token()
      stop_supervised!(instance)
    end
  end
end
