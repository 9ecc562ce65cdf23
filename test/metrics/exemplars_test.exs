defmodule Kantoku.Metrics.ExemplarsTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{Metrics, Pool, RawHTTP, Trace}

  @moduletag skip: not Kantoku.Native.loaded?()

  defmodule Echo do
    use GenServer
    def start_link(_arg), do: GenServer.start_link(__MODULE__, nil)
    @impl true
    def init(nil), do: {:ok, nil}
    @impl true
    def handle_call(request, _from, state), do: {:reply, request, state}
  end

  defp traced!(sampler) do
    start!(
      engine: :native,
      http: RawHTTP.options(),
      trace: [sampler: sampler, keep_slow: :never],
      pools: [[name: :echoes, worker: Echo, target: 1, warm_up: 1]]
    )
  end

  # The ids that stand behind lines of a metric.
  defp told(name) do
    {200, _headers, page} =
      RawHTTP.get(RawHTTP.port(), "/metrics", headers: [{"accept", "application/openmetrics-text"}])

    for [_line, trace, span] <-
          Regex.scan(~r/^#{name}_bucket\{.*\} \d+ # \{trace_id="(\w+)",span_id="(\w+)"\} [0-9.e-]+ [0-9.]+$/m, page),
        do: {trace, span}
  end

  defp clients(instance), do: for(%{kind: :client} = span <- Trace.take(instance), do: {span.trace_id, span.span_id})

  test "a request to a pool that was traced stands beside the bucket that it is in" do
    instance = traced!(:always_on)
    for n <- 1..32, do: {:ok, ^n} = Pool.call({instance, :echoes}, n)
    told = told("kantoku_pool_request_duration_seconds")
    assert told != [] and told -- clients(instance) == []
  end

  test "a call to an agent does as well" do
    instance = traced!(:always_on)
    {:ok, _pid} = Kantoku.start_agent(instance, {Agent, fn -> 0 end}, id: "ada")
    for _ <- 1..200, do: {:ok, 0} = Kantoku.call(instance, "ada", {:get, & &1})
    told = told("kantoku_agent_call_duration_seconds")
    assert told != [] and told -- clients(instance) == []
  end

  test "what a user observes within a span is told with it, and without one is not" do
    instance = traced!(:always_on)
    :ok = Metrics.histogram(instance, "answer_seconds", unit: :seconds, labels: [:model])
    :ok = Metrics.observe(instance, "answer_seconds", 0.25, model: "small")
    assert told("answer_seconds") == []

    context =
      Trace.span(instance, "answering", [], fn ->
        :ok = Metrics.observe(instance, "answer_seconds", 0.25, model: "small")
        Trace.context()
      end)

    assert told("answer_seconds") == [{Trace.Context.trace_id(context), Trace.Context.span_id(context)}]
  end

  test "what is not recorded leaves none" do
    instance = traced!(:always_off)
    for n <- 1..32, do: {:ok, ^n} = Pool.call({instance, :echoes}, n)
    assert told("kantoku_pool_request_duration_seconds") == []
  end
end
