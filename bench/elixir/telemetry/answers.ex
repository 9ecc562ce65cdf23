defmodule Bench.Telemetry.Answers do
  @moduledoc false
  # What a look at an instance with many agents takes, as the dashboard looks every two seconds: until the answer is there, and how large it is.

  alias Bench.{Callers, Measurement, Options, Stage}
  alias Bench.Lifecycle.Counter
  alias Kantoku.Api
  alias Kantoku.Api.Shown

  @spec stages(Options.t()) :: [Stage.t()]
  def stages(options),
    do: [
      %Stage{
        build: fn -> build(options) end,
        clear: &Supervisor.stop(&1.supervisor),
        items: for(question <- questions(), item <- [time(question, options), size(question)], do: item)
      }
    ]

  # Each with what it is called.
  defp questions do
    [
      {"overview", "overview", %{}},
      {"pools", "pools", %{}},
      {"agents", "agents", %{}},
      {"agents.restarts", "agents", %{"sort" => "restarts"}},
      {"agents.memory", "agents", %{"sort" => "memory"}},
      {"agents.name", "agents", %{"q" => "99"}},
      {"agents.tag", "agents", %{"q" => "tag:rare"}},
      {"agents.phase", "agents", %{"q" => "phase:parked"}},
      {"agents.health", "agents", %{"q" => "health:unhealthy"}},
      {"agents.stuck", "agents", %{"q" => "health:stuck"}},
      {"top", "top", %{"by" => "memory"}},
      {"agent", "agent", %{"key" => Shown.key(1)}}
    ]
  end

  defp agents(options), do: Options.size(options, 100_000, 5_000)

  defp build(options) do
    name = :"bench_answers_#{System.unique_integer([:positive])}"
    domains = for n <- 0..19, do: [name: :"domain_#{n}"]
    pools = for n <- 1..100, do: [name: :"bench_pool_#{n}", worker: Bench.Pool.Echo, target: 1]
    # Health and resources as they are by default: what they do meanwhile is a part of what an answer has to wait for.
    opts = [name: name, engine: options.engine, store: :none, domains: domains, pools: pools]
    {:ok, supervisor} = Kantoku.start_link(opts)

    for id <- 1..agents(options) do
      tags = if rem(id, 1_000) == 0, do: [tags: [:rare]], else: []
      {:ok, _pid} = Kantoku.start_agent(name, Counter, [id: id, domain: :"domain_#{rem(id, 20)}"] ++ tags)
    end

    %{supervisor: supervisor, instance: Shown.text(name)}
  end

  defp time({label, path, query}, options) do
    count = Options.size(options, 50, 10)

    %Measurement{
      name: "answer.#{label}",
      unit: "ms",
      does: "/api/v1/#{path}#{said(query)} of an instance with #{agents(options)} agents, 100 pools and 20 domains",
      run: fn stage ->
        times = Enum.sort(for _ <- 1..count, do: Callers.elapsed(1, fn _ -> ask(path, query, stage) end) / 1.0e6)
        [{"p50", Enum.at(times, div(count, 2))}, {"worst", List.last(times)}]
      end
    }
  end

  defp size({label, path, query}) do
    %Measurement{
      name: "answer.#{label}.size",
      unit: "kB",
      does: "the body of that answer, not packed",
      rounds: 1,
      run: fn stage -> [{"body", IO.iodata_length(ask(path, query, stage)) / 1_000}] end
    }
  end

  defp said(query), do: Enum.map_join(query, fn {name, value} -> " #{name}=#{value}" end)

  defp ask(path, query, %{instance: instance}) do
    {200, _type, body} = Api.get(["api", "v1", path], Map.put(query, "instance", instance))
    body
  end
end
