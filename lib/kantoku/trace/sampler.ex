defmodule Kantoku.Trace.Sampler do
  # Whether a trace is recorded, decided where it begins: the six samplers of OpenTelemetry's specification, by its names.
  # Knows no span.
  @moduledoc false

  import Bitwise
  alias Kantoku.Trace.Ids

  # What a ratio is of: the upper 56 of the lower 64 bits of a trace's id. So who looks at 63 of them, as other SDKs do, decides alike.
  @whole 1 <<< 56

  @type root :: :always_on | :always_off | {:below, non_neg_integer}
  @typedoc "What decides where there is no parent, or where no parent is asked."
  @type t :: {:parentbased | :always, root}

  @names [
    :always_on,
    :always_off,
    :traceidratio,
    :parentbased_always_on,
    :parentbased_always_off,
    :parentbased_traceidratio
  ]

  @doc "The names that a sampler may have."
  @spec names() :: [atom]
  def names, do: @names

  @doc "A sampler by its name, and the ratio of those that have one."
  @spec new(atom, number) :: t
  def new(:always_on, _ratio), do: {:always, :always_on}
  def new(:always_off, _ratio), do: {:always, :always_off}
  def new(:traceidratio, ratio), do: {:always, below(ratio)}
  def new(:parentbased_always_on, _ratio), do: {:parentbased, :always_on}
  def new(:parentbased_always_off, _ratio), do: {:parentbased, :always_off}
  def new(:parentbased_traceidratio, ratio), do: {:parentbased, below(ratio)}

  defp below(ratio) when ratio >= 1, do: :always_on
  defp below(ratio), do: {:below, trunc(ratio * @whole)}

  # A macro, as each trace that begins asks: the call of a function takes longer than most answers.
  @doc "Whether a new trace of that id is recorded."
  defmacro root?(sampler, trace) do
    quote do
      case unquote(sampler) do
        {_whose, :always_off} -> false
        {_whose, :always_on} -> true
        {_whose, {:below, bound}} -> unquote(Ids).share(unquote(trace)) < bound
      end
    end
  end

  @doc "Whether a span of that trace is, below one of which this is known, or nothing (`nil`)."
  @spec child?(t, Ids.trace(), sampled :: boolean | nil) :: boolean
  def child?({:parentbased, _root}, _trace, sampled) when sampled != nil, do: sampled
  def child?(sampler, trace, _sampled), do: root?(sampler, trace)
end
