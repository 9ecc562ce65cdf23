defmodule Kantoku.Exporters.UnseenTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.Api.{Feed, Shown}
  alias Kantoku.{Asking, OpenAPI, RawHTTP, Telemetry}

  @secret "swordfish"
  @number 73_190_551

  defmodule Keeping do
    def new(_options), do: %{password: "swordfish", pin: 73_190_551}
    def cmd(kept, _word), do: {kept, []}
  end

  defp probe(name, found),
    do: [name: name, kind: :custom, check: fn _pid -> found.() end, period: 20, failure_threshold: 1]

  defp options do
    probes = [
      probe(:tuple, fn -> {:error, {:denied, @secret, @number}} end),
      probe(:map, fn -> {:error, %{api_key: @secret, rate: @secret, pin: @number}} end),
      probe(:text, fn -> {:error, @secret} end),
      probe(:exception, fn -> {:error, {:shutdown, RuntimeError.exception(@secret)}} end),
      probe(:raises, fn -> raise @secret end)
    ]

    live = [
      name: :live,
      kind: :liveness,
      for: {:agent, "doomed"},
      check: fn _pid -> {:error, %{api_key: @secret, pin: @number}} end,
      period: 20,
      failure_threshold: 1
    ]

    Keyword.merge(Asking.everything(), health: [period: 20, probes: [live | probes]], http: RawHTTP.options())
  end

  setup do
    System.put_env("KANTOKU_TEST_SECRET", @secret)
    on_exit(fn -> System.delete_env("KANTOKU_TEST_SECRET") end)
    instance = start!(options())
    %{instance: instance, port: RawHTTP.port()}
  end

  @tag capture_log: true
  test "what agents hold, answer to probes and end by is in no answer and no event", %{instance: instance, port: port} do
    stream = stream(port)
    {:ok, _} = Kantoku.start_agent(instance, Keeping, id: "keeping")
    worker!(instance, "doomed", secret: @secret)
    eventually(fn -> length(probed(instance, "keeping")) == 5 end)
    assert inspect(probed(instance, "keeping")) =~ @secret

    for {reason, n} <- Enum.with_index(reasons()) do
      worker!(instance, "ends-#{n}", secret: @secret) |> GenServer.cast({:stop, reason})
    end

    agreed = %{id: "keeping", feature: :calls, subject: :all, ours: @secret, theirs: %{pin: @number}}
    Telemetry.emit(instance, [:migration, :disagreed], %{}, agreed)
    refused = {:error, error} = Kantoku.start_agent(instance, %{id: :no, start: {__MODULE__, :refuse, []}}, id: "no")
    assert inspect(refused) =~ @secret
    Telemetry.emit(instance, [:pool, :worker_left], %{}, %{pool: :writers, member: 1, pid: self(), reason: error})
    seen = RawHTTP.until(stream, "", "pool.worker_left")
    for event <- ~w(agent.crashed health.restarting migration.disagreed), do: assert(seen =~ "event: #{event}\n")
    unseen(seen, "the stream")

    document = OpenAPI.document()
    assert {:ok, %{"get" => _}} = Map.fetch(document["paths"], "/api/v1/agent")

    for {path, %{"get" => _}} <- document["paths"],
        path != "/events",
        id <- ["keeping", "doomed" | for(n <- 0..(length(reasons()) - 1), do: "ends-#{n}")] do
      {status, _, body} = RawHTTP.get(port, "#{path}?instance=#{instance}&key=#{Shown.key(id)}&series=p99")
      assert status == 200
      unseen(body, path)
    end

    {200, _, body} = RawHTTP.get(port, "/api/v1/agent?instance=#{instance}&key=#{Shown.key("keeping")}")
    for said <- ["fails its custom probe :tuple: :denied", "custom probe :text: :redacted"], do: assert(body =~ said)
    {200, _, page} = RawHTTP.get(port, "/metrics")
    unseen(page, "/metrics")
  end

  def refuse, do: {:error, {:denied, @secret}}

  defp reasons do
    [
      @secret,
      {:denied, @secret},
      {:shutdown, {:denied, @secret}},
      {:shutdown, RuntimeError.exception(@secret)},
      {RuntimeError.exception(@secret), []},
      {{:badmatch, @secret}, [{__MODULE__, :refuse, [@secret], []}]},
      {:denied, [@secret]},
      %{pin: @number}
    ]
  end

  defp probed(instance, id) do
    {:ok, reasons} = Kantoku.why(instance, id)
    for %{reason: :probe} = why <- reasons, do: why
  end

  defp unseen(text, where) do
    for secret <- [@secret, "#{@number}", RawHTTP.token()],
        do: refute(text =~ secret, "#{secret} is in #{where}: #{text}")
  end

  defp stream(port) do
    {socket, _head} = RawHTTP.events(port)
    eventually(fn -> :sys.get_state(Feed).subscription end)
    socket
  end
end
