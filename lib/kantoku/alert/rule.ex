defmodule Kantoku.Alert.Rule do
  # What is an alarm, checked once. Knows no process and reads nothing.
  @moduledoc false

  alias Kantoku.{Options, Telemetry}

  # A name of a label as Prometheus and Alertmanager take it.
  @label ~r/\A[a-zA-Z_][a-zA-Z0-9_]*\z/

  # Those that we set ourselves.
  @ours ~w(alertname severity kantoku_instance)

  @health [:healthy, :degraded, :starting, :unknown, :unhealthy]
  @breaker [:closed, :open, :half_open, :disabled, :forced_open, :metrics_only]
  @pool [:workers, :ready, :missing, :free, :ongoing, :abandoned, :queue, :tenants, :wait, :hold]

  @schema [
    name: [kind: {:like, "an atom or a string", &__MODULE__.name?/1}, required: true, doc: "the label `alertname`."],
    condition: [
      kind: {:like, "a condition, see Kantoku.Alert", &__MODULE__.condition?/1},
      required: true,
      doc: "what it is about; see below."
    ],
    for: [kind: :non_negative, default: 0, doc: "ms for which it has to be so before the alert fires."],
    keep_firing_for: [
      kind: :non_negative,
      default: 0,
      doc: "ms for which the alert goes on when it is not so any more."
    ],
    severity: [kind: :atom, default: :warning, doc: "the label `severity`; what burns says its own (`Kantoku.SLO`)."],
    labels: [
      kind: {:like, "a map of names to atoms, numbers or strings, without #{inspect(@ours)}", &__MODULE__.labels?/1},
      default: %{},
      doc: "more labels: a map of names (letters, digits, `_`) to atoms, numbers or strings."
    ],
    summary: [
      kind: {:like, "a string", &__MODULE__.text?/1},
      doc: "for people; made of the condition if it is not given."
    ]
  ]

  @enforce_keys Keyword.keys(@schema)
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: atom | String.t(),
          condition: tuple | atom,
          for: non_neg_integer,
          keep_firing_for: non_neg_integer,
          severity: atom,
          labels: %{String.t() => String.t()},
          summary: String.t() | nil
        }

  @doc "Checks a rule's options; raises `ArgumentError` on a bad one."
  @spec new!(keyword) :: t
  def new!(options) do
    checked = Options.validate!(options, @schema, where(options))
    struct!(__MODULE__, %{checked | labels: Map.new(checked.labels, fn {name, value} -> {"#{name}", "#{value}"} end)})
  end

  defp where(options) do
    if Keyword.keyword?(options) and Keyword.has_key?(options, :name),
      do: "Kantoku, alert #{inspect(options[:name])}",
      else: "Kantoku, alert"
  end

  @doc "The events that a rule listens to, by their names."
  @spec events(t) :: [Telemetry.name()]
  def events(%{condition: {:event, event, _within}}), do: [plain(event)]
  def events(%{condition: :agents_parked}), do: [[:agent, :parked]]
  def events(_rule), do: []

  @doc "An event's name without the leading `:kantoku`."
  @spec plain([atom]) :: [atom]
  def plain([:kantoku | event]), do: event
  def plain(event), do: event

  @doc false
  def condition?({:health, of, states}), do: of?(of) and among?(states, @health)
  def condition?({:breakers, states}), do: among?(states, @breaker)
  def condition?({:breaker, _name, states}), do: among?(states, @breaker)
  def condition?({:pools, key, how, than}), do: key in @pool and how in [:above, :below] and is_number(than)
  def condition?({:pool, name, key, how, than}), do: is_atom(name) and condition?({:pools, key, how, than})
  def condition?({:burn_rate, _objective}), do: true
  def condition?({:budget, _objective, left}), do: is_number(left)
  def condition?({:budgets, left}), do: is_number(left)
  def condition?({:event, name, within}), do: event?(name) and is_integer(within) and within > 0
  def condition?({:store, :set_aside, within}), do: is_integer(within) and within > 0
  def condition?(other), do: other in [:burn_rates, :agents_parked, :exporters_refused, {:store, :failing}]

  defp of?({kind, name}), do: kind == :agent or (kind in [:domain, :pool] and is_atom(name))
  defp of?(other), do: other in [:instance, :domains, :pools]

  defp among?(states, known) when is_list(states), do: states != [] and states -- known == []
  defp among?(state, known), do: state in known

  defp event?([_ | _] = name), do: plain(name) in Enum.map(Telemetry.events(), & &1.name)
  defp event?(_other), do: false

  @doc false
  def name?(name), do: (is_atom(name) and name not in [nil, true, false]) or (is_binary(name) and name != "")

  @doc false
  def text?(text), do: is_nil(text) or (is_binary(text) and String.valid?(text))

  @doc false
  def labels?(labels) when is_map(labels) and not is_struct(labels), do: Enum.all?(labels, &label?/1)
  def labels?(_other), do: false

  defp label?({name, value}) do
    (is_atom(name) or is_binary(name)) and "#{name}" =~ @label and "#{name}" not in @ours and
      (is_atom(value) or is_number(value) or text?(value))
  end

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
