defmodule Kantoku.Trace.Attributes do
  # What is said of a span, as a list of names and values, no more of them than are wanted: of those that are too many the first stay, as
  # OpenTelemetry has it, and the others are counted. And as a collector wants it: names that are UTF-8, values of four kinds, all cut to
  # size. Whatever a user says comes out as something. Knows no span.
  @moduledoc false

  # So many bytes of a name.
  @longest_name 255

  @typedoc "Under their names as text, in the order in which they were first said; and how many were too many."
  @type t :: {[{String.t(), term}], left_out :: non_neg_integer}

  @none {[], 0}

  @doc "What was given when a span began; nothing is done to it before that is of use."
  @spec of(Kantoku.Trace.attributes() | t, pos_integer) :: t
  def of({_said, _left_out} = attributes, _most), do: attributes
  def of([], _most), do: @none
  def of(given, most), do: put(@none, given, most)

  @doc "Says more. What was said under the same name before is replaced, and stays where it is."
  @spec put(t, Kantoku.Trace.attributes(), pos_integer) :: t
  def put({said, left_out}, given, most) do
    {said, _count, left_out} = Enum.reduce(pairs(given), {said, length(said), left_out}, &say(&1, &2, most))
    {said, left_out}
  end

  defp say({name, value}, {said, count, left_out}, most) do
    name = name(name)

    cond do
      List.keymember?(said, name, 0) -> {List.keyreplace(said, name, 0, {name, value}), count, left_out}
      count < most -> {said ++ [{name, value}], count + 1, left_out}
      true -> {said, count, left_out + 1}
    end
  end

  defp say(_no_pair, {said, count, left_out}, _most), do: {said, count, left_out + 1}

  @doc "A user's as a list."
  @spec pairs(Kantoku.Trace.attributes()) :: [term]
  def pairs(given) when is_map(given), do: :maps.to_list(given)
  def pairs([one | rest]), do: [one | pairs(rest)]
  def pairs(_end), do: []

  defp name(name) when is_binary(name), do: name
  defp name(name) when is_atom(name), do: Atom.to_string(name)
  defp name(name), do: inspect(name, limit: 20, printable_limit: @longest_name)

  @doc "Them as an engine takes them; texts of so many bytes at most."
  @spec finished([{String.t(), term}], pos_integer) :: Kantoku.Engine.Traces.attributes()
  def finished(said, longest), do: for({name, value} <- said, do: {text(name, @longest_name), value(value, longest)})

  @doc "As `finished/2`, of what is ours: its names need no look."
  @spec ours([{String.t(), term}], pos_integer) :: Kantoku.Engine.Traces.attributes()
  def ours(said, longest), do: for({name, value} <- said, do: {name, value(value, longest)})

  defp value(value, _longest) when is_boolean(value) or is_float(value), do: value
  defp value(value, longest) when is_binary(value), do: text(value, longest)
  defp value(value, longest) when is_atom(value), do: text(Atom.to_string(value), longest)
  defp value(value, _longest) when is_integer(value) and value in -0x8000000000000000..0x7FFFFFFFFFFFFFFF, do: value
  defp value(value, longest), do: value |> inspect(limit: 50, printable_limit: 1_000) |> text(longest)

  @doc "A text of so many bytes at most, in UTF-8, as OTLP wants it."
  @spec text(binary, pos_integer) :: String.t()
  def text(text, longest) when byte_size(text) <= longest do
    if String.valid?(text), do: text, else: text |> inspect(limit: 50) |> text(longest)
  end

  def text(text, longest), do: text |> binary_part(0, longest) |> whole() |> text(longest)

  # Without a character that was cut. What is no UTF-8 earlier than that is left as it is.
  defp whole(text) do
    case :unicode.characters_to_binary(text) do
      {:incomplete, whole, _rest} -> whole
      _whole_or_wrong -> text
    end
  end
end
