defmodule Kantoku.Trace.State do
  # The header `tracestate`: what other systems have to say of a trace, handed on as it came. Understands none of it.
  @moduledoc false

  # So many members are handed on, and no two of one key (https://www.w3.org/TR/trace-context/#tracestate-header).
  @most 32

  @key ~r/\A(?:[a-z][a-z0-9_\-*\/]{0,255}|[a-z0-9][a-z0-9_\-*\/]{0,240}@[a-z][a-z0-9_\-*\/]{0,13})\z/
  @value ~r/\A[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]\z/

  @doc "The header, without what is empty in it; `\"\"` if anything of it is not right."
  @spec checked(String.t() | nil) :: String.t()
  def checked(nil), do: ""
  def checked(""), do: ""

  def checked(header) do
    members = for member <- String.split(header, ","), member = trimmed(member), member != "", do: member
    if right?(members), do: Enum.join(members, ","), else: ""
  end

  defp right?(members) do
    keys = Enum.map(members, &key/1)
    length(members) <= @most and nil not in keys and keys == Enum.uniq(keys)
  end

  defp key(member) do
    with [key, value] <- String.split(member, "=", parts: 2), true <- key =~ @key and value =~ @value do
      key
    else
      _not_right -> nil
    end
  end

  # Spaces and tabs around a member are not part of it; other white space is not right.
  defp trimmed(member), do: Regex.replace(~r/\A[ \t]+|[ \t]+\z/, member, "")
end
