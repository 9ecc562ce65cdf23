defmodule Bench.Telemetry.Pages do
  @moduledoc false
  # The page of figures of an instance with very many agents: how long it takes, and how large it is.

  alias Bench.{Callers, Measurement, Options, Stage, Statistics}
  alias Bench.Lifecycle.Counter
  alias Bench.Pool.Echo
  alias Bench.Telemetry.Scraper
  alias Kantoku.Exporters

  @domains 20
  @pools 20
  @times 50
  @encodings [{"gzip", "packed"}, {"identity", "plain"}]

  @spec stages(Options.t()) :: [Stage.t()]
  def stages(options) do
    agents = Options.size(options, 100_000, 2_000)
    [%Stage{build: fn -> build(agents, options) end, clear: &Supervisor.stop(&1.supervisor), items: items(agents)}]
  end

  defp build(agents, options) do
    name = :"bench_pages_#{System.unique_integer([:positive])}"
    pools = for n <- 1..@pools, do: [name: :"bench_pool_#{n}", worker: Echo, target: 4]
    domains = for n <- 1..@domains, do: [name: :"bench_domain_#{n}"]
    http = [port: 0, token: Scraper.token()]

    {:ok, supervisor} =
      Kantoku.start_link(name: name, engine: options.engine, store: :none, domains: domains, pools: pools, http: http)

    Callers.elapsed(8, fn caller -> start(name, agents, caller) end)
    %{http: %{port: port}} = Exporters.status()
    %{supervisor: supervisor, port: port}
  end

  defp start(name, agents, caller) do
    for n <- caller..(agents - 1)//8 do
      {:ok, _pid} = Kantoku.start_agent(name, Counter, id: n, domain: :"bench_domain_#{rem(n, @domains) + 1}")
    end
  end

  defp items(agents) do
    of = "of an instance with #{agents} agents in #{@domains} domains, and #{@pools} pools"

    [
      %Measurement{
        name: "scrape",
        unit: "ms",
        does: "GET /metrics #{of}, connection and all; of #{@times} in a row the median and the longest",
        run: fn stage -> Enum.flat_map(@encodings, &times(stage, &1)) end
      },
      %Measurement{
        name: "scrape.size",
        unit: "kB",
        rounds: 1,
        does: "the page, #{of}",
        run: fn stage -> for {encoding, label} <- @encodings, do: {label, size(stage, encoding)} end
      }
    ]
  end

  defp times(%{port: port}, {encoding, label}) do
    times = for _ <- 1..@times, do: Callers.elapsed(1, fn _ -> Scraper.scrape(port, encoding) end) / 1.0e6
    [{"#{label}.median", Statistics.median(times)}, {"#{label}.longest", Enum.max(times)}]
  end

  defp size(%{port: port}, encoding), do: byte_size(Scraper.scrape(port, encoding)) / 1_000
end
