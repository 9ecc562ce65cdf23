defmodule Kantoku.Trace.Context do
  @moduledoc """
  Where in a trace somebody is: what W3C's Trace Context carries from one service to the next.

      iex> {:ok, context} = Kantoku.Trace.Context.parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "acme=1")
      iex> {Kantoku.Trace.Context.trace_id(context), Kantoku.Trace.Context.span_id(context), context.sampled}
      {"0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", true}
      iex> Kantoku.Trace.Context.traceparent(context)
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

  Headers are read as the recommendation says (https://www.w3.org/TR/trace-context/): version 00 to the letter, later versions by what they
  begin with, and whatever is not right is no context. A `tracestate` that is not right is left out, and the rest holds. Ids are kept as
  numbers and made text where somebody wants text; of the fields, `sampled` and `state` are for who reads this.
  """

  import Bitwise
  alias Kantoku.Trace.State

  # The trace's id in its upper 64 bits and twice 32: of a number above 59 bits the VM makes a term on the heap, each time.
  @enforce_keys [:trace, :span]
  defstruct [:trace, :span, sampled: false, random: false, remote: false, state: ""]

  @typedoc """
  `sampled`: whether who was here before records this trace; `nil` where they do not say, which a sampler treats as a trace that begins. `random`: whether they say that the id is random (level 2 of the
  recommendation). `remote`: whether it came from outside. `state`: the `tracestate`, `""` where there is none.
  """
  @type t :: %__MODULE__{
          trace: {non_neg_integer, non_neg_integer, non_neg_integer},
          span: pos_integer,
          sampled: boolean | nil,
          random: boolean,
          remote: boolean,
          state: String.t()
        }

  @sampled 0x01
  @random 0x02

  @doc "The trace's id: 32 hexadecimal digits."
  @spec trace_id(t) :: String.t()
  def trace_id(%__MODULE__{trace: {upper, middle, lower}}), do: hex(<<upper::64, middle::32, lower::32>>)

  @doc "The span's id: 16 hexadecimal digits."
  @spec span_id(t) :: String.t()
  def span_id(%__MODULE__{span: span}), do: hex(<<span::64>>)

  @doc "A span's id as text; `nil` of none, which is 0."
  @spec span_hex(non_neg_integer) :: String.t() | nil
  def span_hex(0), do: nil
  def span_hex(span), do: hex(<<span::64>>)

  @doc "The flags, as a number."
  @spec flags(t) :: 0..3
  def flags(%__MODULE__{sampled: sampled, random: random}), do: flags(sampled, random)

  @doc false
  @spec flags(boolean | nil, boolean) :: 0..3
  def flags(sampled, random), do: if(sampled, do: @sampled, else: 0) ||| if(random, do: @random, else: 0)

  @doc "The header `traceparent`, of version 00."
  @spec traceparent(t) :: String.t()
  def traceparent(%__MODULE__{} = context),
    do: "00-#{trace_id(context)}-#{span_id(context)}-#{hex(<<flags(context)>>)}"

  @doc "A context from the headers `traceparent` and `tracestate` (`nil` or `\"\"` where there is none); `:error` if the first is not right."
  @spec parse(String.t(), String.t() | nil) :: {:ok, t} | :error
  def parse(traceparent, tracestate \\ nil)

  def parse(<<version::binary-2, ?-, trace::binary-32, ?-, span::binary-16, ?-, flags::binary-2, rest::binary>>, state) do
    with {:ok, <<version>>} <- unhex(version),
         true <- allowed?(version, rest),
         {:ok, <<upper::64, middle::32, lower::32>>} <- unhex(trace),
         {:ok, <<span::64>>} <- unhex(span),
         {:ok, <<flags>>} <- unhex(flags),
         true <- span != 0 and {upper, middle, lower} != {0, 0, 0} do
      {:ok,
       %__MODULE__{
         trace: {upper, middle, lower},
         span: span,
         sampled: (flags &&& @sampled) != 0,
         random: (flags &&& @random) != 0,
         remote: true,
         state: State.checked(state)
       }}
    else
      _not_right -> :error
    end
  end

  def parse(_other, _state), do: :error

  # A version to come may have more after a dash; 255 is none.
  defp allowed?(0, rest), do: rest == ""
  defp allowed?(255, _rest), do: false
  defp allowed?(_later, ""), do: true
  defp allowed?(_later, <<?-, _more::binary>>), do: true
  defp allowed?(_later, _rest), do: false

  @doc "A context from an id of 128 bits and one of 64, as numbers; `:error` if one is 0 or too large."
  @spec from_integers(integer, integer, sampled :: boolean) :: {:ok, t} | :error
  def from_integers(trace, span, sampled)
      when trace > 0 and trace < 1 <<< 128 and span > 0 and span < 1 <<< 64 do
    <<upper::64, middle::32, lower::32>> = <<trace::128>>
    {:ok, %__MODULE__{trace: {upper, middle, lower}, span: span, sampled: sampled, remote: true}}
  end

  def from_integers(_trace, _span, _sampled), do: :error

  defp hex(bytes), do: Base.encode16(bytes, case: :lower)
  # Capital letters are not right.
  defp unhex(text), do: Base.decode16(text, case: :lower)
end
