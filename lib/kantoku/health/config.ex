defmodule Kantoku.Health.Config do
  # The options of an instance's health, checked once. Knows no process.
  @moduledoc false

  alias Kantoku.{Options, Probe}

  @rule "`:all`, `:worst` or `{:quorum, percent}`"

  @at_risk [
    memory: [
      kind: :positive,
      default: 64 * 1024 * 1024,
      doc: "bytes that an agent's process has in use, with large binaries that are on its heap."
    ],
    mailbox: [kind: :positive, default: 10_000, doc: "messages that wait for an agent."],
    horizon: [
      kind: :positive,
      default: 600_000,
      doc: "ms: what is at its limit within that, if it goes on as it does, is a risk."
    ]
  ]

  @schema [
    period: [kind: :positive, default: 10_000, doc: "ms between two looks at each agent (Kubernetes' `periodSeconds`)."],
    restart: [
      kind: :boolean,
      default: true,
      doc: "whether an agent that fails its liveness is killed, for its domain to restart. `false`: it is only told."
    ],
    rule: [
      kind: {:like, @rule, &__MODULE__.rule?/1},
      default: {:quorum, 50},
      doc: "when a domain, a pool and the instance are healthy: #{@rule}. 50 percent is Envoy's panic threshold."
    ],
    max_busy: [
      kind: {:like, "a map of modules to ms", &__MODULE__.limits?/1},
      default: %{},
      doc:
        "how long OTP agents of a module may take for one message, by module, in ms. Data agents have the option " <>
          "`max_busy` of their own (`Kantoku.Agent.Options`)."
    ],
    at_risk: [
      kind: {:options_or, @at_risk, [false]},
      default: [],
      doc: "limits that agents are seen to near, or `false`: nobody looks ahead (the guide \"Health\"):"
    ],
    samplers: [kind: :positive, default: 2, doc: "processes that look at agents which say nothing of themselves."],
    probes: [kind: {:list, :keyword}, default: [], doc: "probes that ask; see `Kantoku.Probe`."],
    max_probes: [kind: :positive, default: 64, doc: "how many probes ask at the same time."]
  ]

  @enforce_keys Keyword.keys(@schema)
  defstruct @enforce_keys

  @type rule :: :all | :worst | {:quorum, 0..100}

  @type t :: %__MODULE__{
          period: pos_integer,
          restart: boolean,
          rule: rule,
          max_busy: %{module => pos_integer},
          at_risk: %{memory: pos_integer, mailbox: pos_integer, horizon: pos_integer} | false,
          samplers: pos_integer,
          probes: [Probe.t()],
          max_probes: pos_integer
        }

  @doc "Checks the option `:health` of an instance; `nil` where that is `false`. Raises `ArgumentError` on a bad one."
  @spec new!(keyword | false) :: t | nil
  def new!(false), do: nil

  def new!(opts) do
    checked = Options.validate!(opts, @schema, "Kantoku, option :health")
    struct!(__MODULE__, %{checked | probes: Probe.all!(checked.probes)})
  end

  @doc "Changes some of the options; raises `ArgumentError` on a bad one."
  @spec change!(t, keyword) :: t
  def change!(config, changes) do
    given = Options.validate_given!(changes, Keyword.delete(@schema, :samplers), "Kantoku.Health.configure/2")
    given = if given[:probes], do: %{given | probes: Probe.all!(given.probes)}, else: given
    struct!(config, Map.merge(given, at_risk(config.at_risk, given)))
  end

  # What is not said stays, or is the default if nothing was.
  defp at_risk(%{} = before, %{at_risk: %{} = given}), do: %{at_risk: Map.merge(before, given)}
  defp at_risk(false, %{at_risk: %{} = given}), do: %{at_risk: Map.merge(new!([]).at_risk, given)}
  defp at_risk(_before, _given), do: %{}

  @doc "The name and kind of a probe by its id; 0 is the look without asking."
  @spec named(t, non_neg_integer) :: {term, Probe.kind()}
  def named(_config, 0), do: {:passive, :liveness}

  def named(%{probes: probes}, id) do
    case Enum.find(probes, &(&1.id == id)) do
      %{name: name, kind: kind} -> {name, kind}
      nil -> {nil, :custom}
    end
  end

  @doc "The probes that an agent is asked by."
  @spec probes(t, id :: term, domain :: term, type :: module) :: [Probe.t()]
  def probes(%{probes: probes}, id, domain, type), do: Enum.filter(probes, &Probe.asks?(&1, id, domain, type))

  @doc "Whether some agents are not to be found before they have passed a probe."
  @spec gates?(t | nil) :: boolean
  def gates?(nil), do: false
  def gates?(%{probes: probes}), do: Enum.any?(probes, &gates_by?/1)

  @doc "Whether this one is not."
  @spec gates?(t, id :: term, domain :: term, type :: module) :: boolean
  def gates?(config, id, domain, type), do: config |> probes(id, domain, type) |> Enum.any?(&gates_by?/1)

  defp gates_by?(probe), do: probe.kind in [:readiness, :startup]

  @doc "The schema of the options."
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc "A rule as engines know it: all is a quorum, too."
  @spec rule(t) :: Kantoku.Engine.Health.rule()
  def rule(%{rule: :all}), do: 100
  def rule(%{rule: :worst}), do: :worst
  def rule(%{rule: {:quorum, percent}}), do: percent

  @doc false
  def rule?({:quorum, percent}), do: is_integer(percent) and percent in 0..100
  def rule?(other), do: other in [:all, :worst]

  @doc false
  def limits?(limits) when is_map(limits) and not is_struct(limits),
    do: Enum.all?(limits, fn {module, ms} -> is_atom(module) and is_integer(ms) and ms > 0 end)

  def limits?(_other), do: false

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
