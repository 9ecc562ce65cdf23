defmodule Kantoku.JSON do
  # Writes JSON (RFC 8259): maps, lists, strings, numbers, `true`, `false` and `nil`; atoms as strings. Reads none.
  @moduledoc false

  @spec encode(term) :: iodata
  def encode(nil), do: "null"
  def encode(value) when is_boolean(value) or is_integer(value), do: to_string(value)
  def encode(value) when is_float(value), do: :erlang.float_to_binary(value, [:short])
  def encode(value) when is_atom(value), do: value |> Atom.to_string() |> encode()
  def encode(value) when is_binary(value), do: [?", escape(value), ?"]
  def encode(values) when is_list(values), do: [?[, values |> Enum.map(&encode/1) |> Enum.intersperse(?,), ?]]

  def encode(%{} = map) do
    members = for {key, value} <- Enum.sort(map), do: [encode(to_string(key)), ?:, encode(value)]
    [?{, Enum.intersperse(members, ?,), ?}]
  end

  # Bytes that are no UTF-8 have no place in JSON.
  defp escape(text), do: for(<<char::utf8 <- valid(text)>>, do: character(char))
  defp valid(text), do: if(String.valid?(text), do: text, else: inspect(text))

  defp character(?"), do: "\\\""
  defp character(?\\), do: "\\\\"
  defp character(char) when char < 0x20, do: :io_lib.format("\\u~4.16.0b", [char])
  defp character(char), do: <<char::utf8>>
end
