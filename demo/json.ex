defmodule Demo.Json do
  # One flat object in JSON (RFC 8259), as neither OTP 25 nor Elixir has an encoder. Pure.
  @moduledoc false

  @doc """
  An object of its members, in their order.

      iex> Demo.Json.object(identical: true, kills: 3, back: 0.5, dir: "a\\"b")
      ~S({"identical":true,"kills":3,"back":0.5,"dir":"a\\"b"})
  """
  @spec object([{atom, atom | number | binary}]) :: String.t()
  def object(members),
    do: "{" <> Enum.map_join(members, ",", fn {key, value} -> "#{string(key)}:#{value(value)}" end) <> "}"

  defp value(value) when is_number(value) or is_boolean(value), do: to_string(value)
  defp value(nil), do: "null"
  defp value(value), do: string(value)

  defp string(value) do
    "\"" <> for(c <- String.codepoints(to_string(value)), into: "", do: character(c)) <> "\""
  end

  defp character("\""), do: "\\\""
  defp character("\\"), do: "\\\\"
  defp character(<<c>>) when c < 0x20, do: "\\u" <> String.pad_leading(Integer.to_string(c, 16), 4, "0")
  # The name of a file need not be UTF-8.
  defp character(c), do: if(String.valid?(c), do: c, else: "\uFFFD")
end
