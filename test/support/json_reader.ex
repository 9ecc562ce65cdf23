defmodule Kantoku.JSONReader do
  @moduledoc """
  Reads JSON (RFC 8259) for the tests, strictly, as our package only writes it: objects as maps, `null` as `nil`.
  """

  @doc "What a text says; raises where it is no JSON."
  @spec read!(iodata) :: term
  def read!(text) do
    {value, rest} = text |> IO.iodata_to_binary() |> blank() |> value()
    "" = blank(rest)
    value
  end

  defp blank(<<char, rest::binary>>) when char in [?\s, ?\n, ?\r, ?\t], do: blank(rest)
  defp blank(text), do: text

  defp value("null" <> rest), do: {nil, rest}
  defp value("true" <> rest), do: {true, rest}
  defp value("false" <> rest), do: {false, rest}
  defp value("\"" <> rest), do: string(rest, [])
  defp value("[" <> rest), do: rest |> blank() |> array([])
  defp value("{" <> rest), do: rest |> blank() |> object(%{})
  defp value(text), do: number(text)

  defp array("]" <> rest, []), do: {[], rest}

  defp array(text, values) do
    {value, rest} = value(text)

    case blank(rest) do
      "," <> rest -> rest |> blank() |> array([value | values])
      "]" <> rest -> {Enum.reverse([value | values]), rest}
    end
  end

  defp object("}" <> rest, members) when members == %{}, do: {%{}, rest}

  defp object("\"" <> text, members) do
    {name, rest} = string(text, [])
    ":" <> rest = blank(rest)
    {value, rest} = rest |> blank() |> value()
    false = is_map_key(members, name)

    case blank(rest) do
      "," <> rest -> rest |> blank() |> object(Map.put(members, name, value))
      "}" <> rest -> {Map.put(members, name, value), rest}
    end
  end

  @escapes %{?" => ?", ?\\ => ?\\, ?/ => ?/, ?b => ?\b, ?f => ?\f, ?n => ?\n, ?r => ?\r, ?t => ?\t}

  defp string("\"" <> rest, chars), do: {chars |> Enum.reverse() |> List.to_string(), rest}

  defp string(<<"\\u", hex::binary-size(4), rest::binary>>, chars),
    do: string(rest, [String.to_integer(hex, 16) | chars])

  defp string(<<?\\, char, rest::binary>>, chars), do: string(rest, [Map.fetch!(@escapes, char) | chars])
  defp string(<<char::utf8, rest::binary>>, chars) when char >= 0x20, do: string(rest, [char | chars])

  defp number(text) do
    [number] = Regex.run(~r/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/, text)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))
    {parsed(number), rest}
  end

  defp parsed(number) do
    case Integer.parse(number) do
      {integer, ""} -> integer
      {_whole, _more} -> number |> Float.parse() |> elem(0)
    end
  end
end
