defmodule Kantoku.Exporters.Words do
  # What may stand in a request's head, in an address and in a path: the library takes nothing else. Knows no option.
  @moduledoc false

  @least 16
  @most 512

  # What the library takes as a time, in ms, so that no sum of times is too large.
  @most_ms 1_099_511_627_776
  @most_count 4_294_967_295

  @doc "What a token is, in words."
  @spec token() :: String.t()
  def token, do: "#{@least} to #{@most} visible characters of ASCII"

  @spec token?(term) :: boolean
  def token?(text), do: is_binary(text) and byte_size(text) in @least..@most and visible?(text)

  @doc "What headers are, in words."
  @spec headers() :: String.t()
  def headers,
    do:
      "pairs of strings: a header's name of letters, digits and hyphens, and its value of printable characters of ASCII"

  @spec headers?(term) :: boolean
  def headers?(pairs), do: pairs?(pairs) and Enum.all?(pairs, fn {name, value} -> name?(name) and value?(value) end)

  # RFC 9110, 5.1 and 5.5, without what is obsolete.
  defp name?(name), do: name =~ ~r/\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/
  defp value?(value), do: for(<<byte <- value>>, byte != ?\t and byte not in 0x20..0x7E, do: byte) == []

  @spec pairs?(term) :: boolean
  def pairs?(pairs),
    do: is_list(pairs) and Enum.all?(pairs, &match?({name, value} when is_binary(name) and is_binary(value), &1))

  @doc "Pairs of strings that are text."
  @spec texts?(term) :: boolean
  def texts?(pairs), do: pairs?(pairs) and Enum.all?(pairs, fn {name, value} -> text?(name) and text?(value) end)

  @doc "A string of UTF-8, without the byte at which paths and names end for the system."
  @spec text?(term) :: boolean
  def text?(text), do: is_binary(text) and String.valid?(text) and not String.contains?(text, <<0>>)

  @doc "A host's name or address, as a request has it."
  @spec host?(term) :: boolean
  def host?(text), do: is_binary(text) and text != "" and visible?(text) and not (text =~ ~r/[\/@?#,]/)

  defp visible?(text), do: for(<<byte <- text>>, byte not in 0x21..0x7E, do: byte) == []

  @doc "The host of `host:port`, an IPv6 address in its brackets; `nil` of what is none."
  @spec host_of(term) :: String.t() | nil
  def host_of(address) when is_binary(address) do
    with [host, port] <- Regex.run(~r/\A(\[[^\]]+\]|[^:]+):(\d{1,5})\z/, address, capture: :all_but_first),
         true <- host?(host) and String.to_integer(port) in 1..65_535 do
      host
    else
      _no_address -> nil
    end
  end

  def host_of(_no_address), do: nil

  @doc "Whether a URL has a user, and so perhaps a password, before its host."
  @spec user?(String.t()) :: boolean
  def user?(url), do: url =~ ~r{\A(?:[a-zA-Z][a-zA-Z0-9+.-]*://)?[^/?#]*@}

  @spec most_ms() :: pos_integer
  def most_ms, do: @most_ms

  @spec ms?(term) :: boolean
  def ms?(ms), do: ms in 1..@most_ms

  @spec most_count() :: pos_integer
  def most_count, do: @most_count

  @spec count?(term) :: boolean
  def count?(count), do: count in 1..@most_count
end
