defmodule Kantoku.Trace.Config do
  # The option `:trace` of an instance together with the variables of the system, checked once; and where those who begin spans find
  # it. Knows no span.
  @moduledoc false

  alias Kantoku.Options
  alias Kantoku.Trace.{Clock, Environment, Outside, Sampler}

  @schema [
    disabled: [kind: :boolean, default: false, doc: "nothing is recorded nor handed on (`OTEL_SDK_DISABLED`)."],
    sampler: [
      kind: {:one_of, Sampler.names()},
      default: :parentbased_always_on,
      doc:
        "which traces are recorded, decided where one begins: `:always_on`, `:always_off`, `:traceidratio`, or one of these with " <>
          "`:parentbased_` before its name, which does as whoever called (`OTEL_TRACES_SAMPLER`)."
    ],
    ratio: [
      kind: {:like, "a number from 0 to 1", &__MODULE__.ratio?/1},
      default: 1.0,
      doc: "how many of them, for `:traceidratio` and `:parentbased_traceidratio` (`OTEL_TRACES_SAMPLER_ARG`)."
    ],
    keep_errors: [
      kind: {:one_of, [true, false, nil]},
      default: nil,
      doc:
        "whether a span that failed is recorded although its trace is not; `nil`: unless the sampler is `:always_off`."
    ],
    keep_slow: [
      kind: {:positive_or, [:never, nil]},
      default: nil,
      doc:
        "as many ms as a span has to last to be recorded likewise, or `:never`; `nil`: 1_000, unless the sampler is `:always_off`."
    ],
    propagators: [
      kind: {:list, {:one_of, [:tracecontext]}},
      default: [:tracecontext],
      doc:
        "what `Kantoku.Trace.inject/3` writes and `Kantoku.Trace.extract/2` reads; `[]`: nothing (`OTEL_PROPAGATORS`)."
    ],
    max_queue_size: [
      kind: :positive,
      default: 2_048,
      doc:
        "so many finished spans are kept until somebody takes them; further ones are dropped and counted (`OTEL_BSP_MAX_QUEUE_SIZE`). Default as OpenTelemetry's."
    ],
    max_queue_bytes: [kind: :positive, default: 4_194_304, doc: "and so many bytes of them."],
    max_attributes: [
      kind: {:like, "an integer from 0 to 128", &__MODULE__.count?/1},
      default: 128,
      doc:
        "so many attributes of yours a span has, 0 to 128; those that are said first stay, further ones are counted " <>
          "(`OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`)."
    ],
    max_events: [
      kind: {:like, "an integer from 0 to 128", &__MODULE__.count?/1},
      default: 128,
      doc: "and so many events (`OTEL_SPAN_EVENT_COUNT_LIMIT`),"
    ],
    max_links: [
      kind: {:like, "an integer from 0 to 128", &__MODULE__.count?/1},
      default: 128,
      doc: "and so many links (`OTEL_SPAN_LINK_COUNT_LIMIT`). Default of all three as OpenTelemetry's."
    ],
    max_value_length: [
      kind: {:like, "an integer from 1 to 16384", &__MODULE__.length?/1},
      default: 4_096,
      doc:
        "so many bytes a text has that is said, 1 to 16_384; the rest is cut off " <>
          "(`OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`)."
    ]
  ]

  # What of each there may be at most; a variable that asks for more gets this.
  @most 128
  @longest 16_384

  # A span that took longer is slow, in ms.
  @slow 1_000

  @limits [:max_queue_size, :max_queue_bytes, :max_attributes, :max_events, :max_links, :max_value_length]
  @fields [:sampler, :keep_errors, :slow, :propagators] ++ @limits
  @enforce_keys @fields
  defstruct @fields ++ [instance: nil, named: nil, clock: nil, outside: false]

  @typedoc "`named`: the instance's name as text. `slow` in units of the clock. `outside`: whether others may have a trace in this VM."
  @type t :: %__MODULE__{
          instance: atom,
          named: String.t() | nil,
          clock: Clock.t() | nil,
          outside: boolean,
          sampler: Sampler.t(),
          keep_errors: boolean,
          slow: pos_integer | nil,
          propagators: [:tracecontext],
          max_queue_size: pos_integer,
          max_queue_bytes: pos_integer,
          max_attributes: 0..128,
          max_events: 0..128,
          max_links: 0..128,
          max_value_length: 1..16_384
        }

  @doc """
  Checks the option of an instance, `nil` where it was not given; `nil` where nothing is traced. Options win over variables. Raises
  `ArgumentError` on a bad one.
  """
  @spec new!(keyword | false | nil, variables :: keyword) :: t | nil
  def new!(opts, variables \\ Environment.options())
  def new!(false, _variables), do: nil
  def new!(nil, variables), do: if(variables[:sampler], do: new!([], variables))

  def new!(opts, variables) do
    _checked = Options.validate!(opts, @schema, "Kantoku, option :trace")
    made = variables |> Keyword.merge(opts) |> Options.validate!(@schema, "Kantoku, option :trace")
    if not made.disabled, do: struct!(__MODULE__, made |> Map.merge(kept(made)) |> Map.take(@fields))
  end

  # Who says "never" means it, but for what they ask for by name.
  defp kept(%{sampler: sampler} = made) do
    tail? = sampler != :always_off
    slow = if made.keep_slow == nil and tail?, do: @slow, else: made.keep_slow

    %{
      sampler: Sampler.new(sampler, made.ratio),
      keep_errors: if(made.keep_errors == nil, do: tail?, else: made.keep_errors),
      slow: if(is_integer(slow), do: Clock.ms(slow))
    }
  end

  @doc false
  def ratio?(ratio), do: is_number(ratio) and ratio >= 0 and ratio <= 1

  @doc false
  def count?(count), do: is_integer(count) and count >= 0 and count <= @most

  @doc false
  def length?(length), do: is_integer(length) and length > 0 and length <= @longest

  @doc "The schema of the options."
  @spec schema() :: Options.schema()
  def schema, do: @schema

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)

  # Where it is found: a map of all instances that trace, in one term. There is none as long as none does, and that is all that a call reads
  # where nothing is traced. It changes where an instance that traces starts or ends.

  @doc "How an instance traces; `nil` where it does not."
  @spec of(atom) :: t | nil
  def of(instance) do
    case :persistent_term.get(__MODULE__, nil) do
      %{^instance => config} -> config
      _none -> nil
    end
  end

  @doc "From now on the instance traces so, by this clock."
  @spec publish(atom, t, Clock.t()) :: :ok
  def publish(instance, config, clock) do
    known = %{instance: instance, named: inspect(instance), clock: clock, outside: Outside.there?()}
    change(&Map.put(&1, instance, Map.merge(config, known)))
  end

  @doc "From now on it does not trace."
  @spec withdraw(atom) :: :ok
  def withdraw(instance), do: if(of(instance), do: change(&Map.delete(&1, instance)), else: :ok)

  # Of two instances that start at once none is lost.
  defp change(change) do
    :global.trans({__MODULE__, self()}, fn -> put(change.(:persistent_term.get(__MODULE__, nil) || %{})) end, [node()])
    :ok
  end

  defp put(all) when all == %{}, do: :persistent_term.erase(__MODULE__)
  defp put(all), do: :persistent_term.put(__MODULE__, all)
end
