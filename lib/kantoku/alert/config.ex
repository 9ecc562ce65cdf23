defmodule Kantoku.Alert.Config do
  # The option `:alerts` of an instance, checked once, and its place in the instance's book. Knows no process.
  @moduledoc false

  alias Kantoku.Alert.{Defaults, Rule, Sink}
  alias Kantoku.Options

  @schema [
    interval: [kind: :positive, default: 5_000, doc: "ms between two looks at all rules."],
    defaults: [
      kind: {:like, "a boolean, or a keyword list of the names of default rules and booleans", &Defaults.choice?/1},
      default: true,
      doc: "whether there are the default rules, all or each: `[agents_parked: false]`."
    ],
    rules: [
      kind: {:list, :keyword},
      default: [],
      doc: "keyword lists, see below; one of a default rule's name takes its place."
    ],
    sinks: [kind: {:list, :any}, default: [:logger], doc: "where alerts go; see below."]
  ]

  @enforce_keys [:interval, :rules, :sinks]
  defstruct @enforce_keys

  @type t :: %__MODULE__{interval: pos_integer, rules: [Rule.t()], sinks: [Sink.t()]}

  @doc "Checks the option; `nil` where that is `false`. Raises `ArgumentError` on a bad one."
  @spec new!(keyword | false) :: t | nil
  def new!(false), do: nil

  def new!(opts) do
    checked = Options.validate!(opts, @schema, "Kantoku, option :alerts")
    rules = Enum.map(checked.rules, &Rule.new!/1)
    names = Enum.map(rules, & &1.name)

    with [name | _] <- names -- Enum.uniq(names),
         do: raise(ArgumentError, "Kantoku, option :alerts: expected each rule once, got twice: #{inspect(name)}")

    defaults = Enum.reject(Defaults.rules(checked.defaults), &(&1.name in names))
    %__MODULE__{interval: checked.interval, rules: defaults ++ rules, sinks: Sink.all!(checked.sinks)}
  end

  @doc "With a rule added, or in the place of the one of its name."
  @spec put(t, Rule.t()) :: t
  def put(config, rule), do: %{delete(config, rule.name) | rules: delete(config, rule.name).rules ++ [rule]}

  @doc "Without a rule."
  @spec delete(t, atom | String.t()) :: t
  def delete(config, name), do: %{config | rules: Enum.reject(config.rules, &(&1.name == name))}

  @doc "Enters it in the book of the instance, which is as long as it holds."
  @spec enter(:ets.tid(), t | nil) :: true
  def enter(book, config), do: :ets.insert(book, {:alerts, config})

  @spec of(:ets.tid()) :: t | nil
  def of(book), do: :ets.lookup_element(book, :alerts, 2)

  @doc "The schema of the options."
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
