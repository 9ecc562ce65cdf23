Code.require_file("terms.exs", __DIR__)

defmodule Kantoku.TraceContextPropertyTest do
  use ExUnit.Case, async: true
  import Kantoku.Terms, only: [check: 3]

  alias Kantoku.Trace.{Context, Sampler}
  require Sampler

  @moduletag :property
  @moduletag timeout: 300_000

  defp wide(bits), do: :proper_types.integer(1, Bitwise.bsl(1, bits) - 1)

  test "what is rendered is read as it was" do
    check({wide(128), wide(64), :proper_types.boolean()}, &as_it_was?/1, 500)
  end

  defp as_it_was?({trace, span, sampled}) do
    {:ok, context} = Context.from_integers(trace, span, sampled)
    header = Context.traceparent(context)

    byte_size(header) == 55 and Context.parse(header) == {:ok, context} and
      String.to_integer(Context.trace_id(context), 16) == trace and
      String.to_integer(Context.span_id(context), 16) == span
  end

  test "no text is anything but a context or an error, and a context is only of what the recommendation allows" do
    check({text(), text()}, &read?/1, 1_000)
  end

  # Mostly a header with something changed in it.
  defp text do
    near = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    at = :proper_types.integer(0, 54)

    letter =
      :proper_types.oneof([:proper_types.range(?0, ?9), :proper_types.range(?a, ?g), :proper_types.range(0, 255)])

    :proper_types.oneof([{:changed, near, at, letter}, {:cut, near, at}, :proper_types.binary()])
  end

  defp read?({one, other}) do
    header = made(one)

    case Context.parse(header, made(other)) do
      {:ok, _context} ->
        header =~ ~r/\A(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:\z|-)/s

      :error ->
        not (header =~ ~r/\A00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\z/)
    end
  end

  defp made({:changed, text, at, letter}),
    do: binary_part(text, 0, at) <> <<letter>> <> binary_part(text, at + 1, byte_size(text) - at - 1)

  defp made({:cut, text, at}), do: binary_part(text, 0, at)
  defp made(text), do: text

  test "a ratio decides as who compares 63 of the lower 64 bits, and alike at every hop" do
    check({wide(128), :proper_types.float(0.0, 1.0)}, &alike?/1, 1_000)
  end

  defp alike?({trace, ratio}) do
    {:ok, context} = Context.from_integers(trace, 1, false)
    sampled = Sampler.root?(Sampler.new(:traceidratio, ratio), context.trace)
    lower = trace |> Bitwise.band(Bitwise.bsl(1, 64) - 1) |> Bitwise.bsr(1)
    # Within what 56 bits tell apart.
    gap = lower - ratio * Bitwise.bsl(1, 63)
    alike = Sampler.child?(Sampler.new(:traceidratio, ratio), context.trace, false) == sampled
    alike and (abs(gap) <= 1024 or sampled == gap < 0)
  end
end
