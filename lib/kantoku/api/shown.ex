defmodule Kantoku.Api.Shown do
  # Terms as people and other programs may see them: as text, as seconds, and as keys by which they can be asked for again. Makes no atom,
  # and shows of a reason no data.
  @moduledoc false

  alias Kantoku.Agent.Redaction
  alias Kantoku.Metrics.Definition

  # Of a key, before it is written in Base64.
  @longest_key 1_024

  @doc "A term as text: names as they are, others as they are written, at most 200 characters."
  @spec text(term) :: String.t()
  defdelegate text(term), to: Definition

  @doc "A term as text, or `nil`."
  @spec text_or_nil(term) :: String.t() | nil
  def text_or_nil(nil), do: nil
  def text_or_nil(term), do: text(term)

  # What may hold somebody's data: why something failed, what a probe of theirs found, and the values of which two should have been alike.
  @reasons [:reason, :exit, :found, :error, :ours, :theirs]
  # What we find ourselves.
  @findings [:busy_for, :over, :doing, :at, :waits_for, :failures, :rate, :threshold, :mean_us, :median_us]

  @doc "A map of whatever as texts; of reasons only their kind."
  @spec texts(map) :: %{String.t() => String.t()}
  def texts(map), do: Map.new(map, fn {name, value} -> {text(name), value(name, value)} end)

  defp value(name, value) when name in @reasons, do: reason(value)
  defp value(:evidence, value), do: evidence(value)
  defp value(_name, value), do: text(value)

  defp evidence(%{} = found) when not is_struct(found) do
    known = for {name, value} <- found, name in @findings, ours?(value), into: %{}, do: {name, value}
    if known == %{}, do: reason(found), else: text(known)
  end

  defp evidence(found), do: reason(found)

  defp ours?({module, function, arity}), do: is_atom(module) and is_atom(function) and is_integer(arity)
  defp ours?(value), do: is_number(value) or is_atom(value)

  @doc "Why something ended, without the data that such reasons carry."
  @spec reason(term) :: String.t()
  def reason(%Kantoku.Error{details: details} = error) do
    details =
      Map.new(details, fn {name, value} -> {name, if(name in @reasons, do: Redaction.kind(value), else: value)} end)

    text(Exception.message(%{error | details: details}))
  end

  def reason(reason), do: reason |> Redaction.kind() |> text()

  @doc "Ms of system time as seconds."
  @spec seconds(number | nil) :: float | nil
  def seconds(nil), do: nil
  def seconds(ms), do: ms / 1_000

  @doc "A time of the monotonic clock, in native units, as seconds since 1970."
  @spec at(integer | nil) :: float | nil
  def at(nil), do: nil
  def at(native), do: System.convert_time_unit(native + System.time_offset(), :native, :microsecond) / 1.0e6

  @doc "Now."
  @spec now() :: float
  def now, do: System.system_time(:microsecond) / 1.0e6

  @doc "What names a term in a request; `nil` where that were too long."
  @spec key(term) :: String.t() | nil
  def key(term) do
    bytes = :erlang.term_to_binary(term)
    if byte_size(bytes) <= @longest_key, do: Base.url_encode64(bytes, padding: false)
  end

  @doc "The term that a key names."
  @spec term(String.t()) :: {:ok, term} | :error
  def term(key) when is_binary(key) and byte_size(key) <= div(@longest_key * 4, 3) + 3 do
    with {:ok, bytes} <- Base.url_decode64(key, padding: false), do: decoded(bytes)
  end

  def term(_no_key), do: :error

  # A compressed term could be any size.
  defp decoded(<<131, 80, _rest::binary>>), do: :error

  defp decoded(bytes) do
    {term, used} = :erlang.binary_to_term(bytes, [:safe, :used])
    if used == byte_size(bytes), do: {:ok, term}, else: :error
  rescue
    ArgumentError -> :error
  end
end
