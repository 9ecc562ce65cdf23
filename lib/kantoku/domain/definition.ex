defmodule Kantoku.Domain.Definition do
  # A domain as it is declared: its policy, its shape, its agents, the domains in it. Knows no process.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 2]

  alias Kantoku.Domain.{Policy, Rows, Wish}
  alias Kantoku.Options

  @schema [
            name: [kind: :atom, required: true, doc: "unique in the instance."],
            strategy: [
              kind: {:one_of, [:one_for_one, :one_for_all, :rest_for_one]},
              default: :one_for_one,
              doc: "over the declared agents, as in OTP. Dynamic agents stand by themselves."
            ],
            agents: [
              kind: {:list, :any},
              default: [],
              doc:
                "declared agents, in the order of their start: child specs, or `[spec: ..., id: ...]` with the options of `Kantoku.start_agent/3`."
            ],
            domains: [kind: {:list, :keyword}, default: [], doc: "domains nested in this one."],
            partitions: [kind: :positive, default: 64, doc: "supervisors that share the dynamic agents."],
            stop_order: [
              kind: {:one_of, [:dynamic_first, :declared_first]},
              default: :dynamic_first,
              doc: "which agents stop first."
            ]
          ] ++ Policy.schema()

  # A pool's workers are a domain of their own, with nothing declared and nothing nested in it.
  @pool_schema [
                 partitions: [
                   kind: :positive,
                   default: 8,
                   doc: "supervisors that share the workers, and start them side by side."
                 ]
               ] ++
                 Policy.schema()

  @enforce_keys [:name, :policy, :strategy, :agents, :domains, :partitions, :stop_order]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: Kantoku.Domain.name(),
          policy: Policy.t(),
          strategy: Supervisor.strategy(),
          agents: [Rows.row()],
          domains: [t],
          partitions: pos_integer,
          stop_order: :dynamic_first | :declared_first
        }

  @doc "Checks a declaration; raises `ArgumentError` that names the domain."
  @spec new!(keyword) :: t
  def new!(declaration) do
    checked = Options.validate!(declaration, @schema, "Kantoku, domain #{inspect(declaration[:name])}")
    policy = Policy.new(checked)

    struct!(__MODULE__,
      name: checked.name,
      policy: policy,
      strategy: checked.strategy,
      agents: Enum.map(checked.agents, &agent!(&1, checked.name, policy)),
      domains: Enum.map(checked.domains, &new!/1),
      partitions: checked.partitions,
      stop_order: checked.stop_order
    )
  end

  @doc "The options of a pool's domain."
  @spec pool_schema() :: Options.schema()
  def pool_schema, do: @pool_schema

  @doc "The domain of a pool's workers, from options that were checked by `pool_schema/0`. No domain of users has such a name."
  @spec of_pool(atom, map) :: t
  def of_pool(pool, checked) do
    struct!(__MODULE__,
      name: {:pool, pool},
      policy: Policy.new(checked),
      strategy: :one_for_one,
      agents: [],
      domains: [],
      partitions: checked.partitions,
      stop_order: :dynamic_first
    )
  end

  defp agent!([{_, _} | _] = declared, domain, policy) do
    {spec, opts} = Keyword.pop!(declared, :spec)
    wish!(spec, opts, domain, policy)
  end

  defp agent!(spec, domain, policy), do: wish!(spec, [], domain, policy)

  # Generation 0: a declared agent is one wish for the instance's whole life.
  defp wish!(spec, opts, domain, policy) do
    wish = Wish.new!(nil, spec, Keyword.put(opts, :domain, domain))
    wish |> Wish.complete(policy.restart, policy.shutdown) |> row(gen: 0, part: :group)
  end

  @doc "The names of a domain and those in it."
  @spec names(t) :: [Kantoku.Domain.name()]
  def names(domain), do: [domain.name | Enum.flat_map(domain.domains, &names/1)]

  @doc "The ids of all agents declared in a domain and those in it."
  @spec agent_ids(t) :: [term]
  def agent_ids(domain), do: domain |> agents() |> Enum.map(&row(&1, :id))

  @doc "All agents declared in a domain and those in it."
  @spec agents(t) :: [Rows.row()]
  def agents(domain), do: domain.agents ++ Enum.flat_map(domain.domains, &agents/1)

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
