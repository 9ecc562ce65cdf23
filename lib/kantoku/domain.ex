defmodule Kantoku.Domain do
  @moduledoc """
  An isolated failure domain: agents that share a restart policy, limits and a place in the order of shutdown.

  A domain has its own supervisors, its own restart budget and its own token bucket, so that what happens in one neither restarts nor
  slows another. Declared agents (`:agents`) stand under the domain's strategy, as children of OTP's `Supervisor` do; dynamic ones
  (`Kantoku.start_agent/3`) stand each for itself. Domains nest: limits and drains apply downward, escalation goes one level up.

      {Kantoku,
       name: MyApp.Agents,
       domains: [
         [
           name: :tools,
           strategy: :rest_for_one,
           agents: [MyApp.Browser, [spec: MyApp.Search, id: "search", tags: [:web]]],
           backoff: [base: 100, cap: 5_000],
           budget: [crashes: 5, within: 30_000],
           limits: [max_agents: 1_000]
         ]
       ]}

  ## Options

  #{Kantoku.Domain.Definition.docs()}

  `:name`, `:strategy`, `:agents`, `:domains`, `:partitions` and `:stop_order` are fixed; all others can be changed at any time by
  `update/3`, and the next crash, start or reservation sees the change.
  """

  alias Kantoku.{Agents, Drain, Error, Instances, Telemetry}
  alias Kantoku.Domain.{Book, Gauges, Policy, Rows}

  @typedoc "A domain by its name; that of a pool's workers is named after the pool."
  @type name :: atom | {:pool, atom}

  @doc """
  Changes options of a running domain. Nested options are merged: what is not given stays. Raises `ArgumentError` on a bad option.

      Kantoku.Domain.update(MyApp.Agents, :tools, budget: [crashes: 20])
  """
  @spec update(instance :: atom, name, keyword) :: :ok | {:error, Error.t()}
  def update(instance, domain, changes) do
    inside(instance, domain, fn _rows, book ->
      where = "Kantoku, domain #{inspect(domain)}"
      _policy = Book.change_policy(book, domain, &Policy.change!(&1, changes, where))
      Telemetry.options_changed(:ok, instance, {:domain, domain}, changes)
    end)
  end

  @doc "A domain's present options, as maps; durations in ms."
  @spec options(instance :: atom, name) :: {:ok, map} | {:error, Error.t()}
  def options(instance, domain) do
    inside(instance, domain, fn _rows, book ->
      shape = Book.shape(book, domain)
      fixed = Map.take(shape, [:parent, :strategy, :partitions, :stop_order])
      {:ok, book |> Book.policy(domain) |> Map.from_struct() |> Map.merge(fixed)}
    end)
  end

  @doc """
  What a domain holds now: how many agents in each state, whether it drains.

      {:ok, %{agents: %{up: 12, parked: 1}, places: 13, draining: false, parent: nil}} =
        Kantoku.Domain.status(MyApp.Agents, :tools)
  """
  @spec status(instance :: atom, name) :: {:ok, map} | {:error, Error.t()}
  def status(instance, domain) do
    inside(instance, domain, fn rows, book ->
      chain = Book.chain(book, domain)

      {:ok,
       %{
         agents: rows |> Rows.phases(domain) |> by_status(),
         places: Gauges.agents(hd(chain)),
         draining: Gauges.draining?(chain),
         parent: Book.shape(book, domain).parent
       }}
    end)
  end

  defp by_status(phases) do
    Enum.reduce(phases, %{}, fn {phase, count}, counts ->
      Map.update(counts, Agents.status(phase), count, &(&1 + count))
    end)
  end

  @doc """
  Drains a domain and those nested in it: refuses new work, lets work in flight finish for up to `timeout` ms (`nil`: the instance's
  own), stops the agents in order. Returns what `Kantoku.drain/2` does.
  """
  @spec drain(instance :: atom, name, timeout :: non_neg_integer | nil) ::
          {:ok, Kantoku.drained()} | {:error, Error.t()}
  def drain(instance, domain, timeout \\ nil) do
    inside(instance, domain, fn _rows, book -> {:ok, Drain.Server.drain(book, domain, timeout)} end)
  end

  @doc "The names of an instance's domains, nested ones included."
  @spec names(instance :: atom) :: {:ok, [name]} | {:error, Error.t()}
  def names(instance) do
    Instances.reading(instance, fn _rows, book -> {:ok, Book.domains(book)} end)
  end

  defp inside(instance, domain, fun) do
    Instances.reading(instance, fn rows, book ->
      if domain != nil and Book.entrance(book, domain),
        do: fun.(rows, book),
        else: {:error, Error.new(:not_found, domain: domain)}
    end)
  end
end
