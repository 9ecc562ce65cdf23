defmodule Kantoku.Api.Params do
  # Reads the parameters of a request, and says which one is wrong and what was expected. Makes no atom.
  @moduledoc false

  @type t :: %{optional(String.t()) => term}
  @type refusal :: {400, :bad_request, String.t()}

  @doc "A query as it stands in an address."
  @spec decode(String.t()) :: {:ok, t} | {:error, refusal}
  def decode(query) do
    params = URI.decode_query(query)

    if Enum.all?(params, fn {name, value} -> String.valid?(name) and String.valid?(value) end),
      do: {:ok, params},
      else: {:error, refusal("the query", "UTF-8")}
  rescue
    ArgumentError -> {:error, refusal("the query", "names and values in percent-encoding")}
  end

  @doc "A text, or `nil` where it is not given or empty."
  @spec text(t, String.t()) :: {:ok, String.t() | nil} | {:error, refusal}
  def text(params, name) do
    case params do
      %{^name => ""} -> {:ok, nil}
      %{^name => text} when is_binary(text) -> {:ok, text}
      %{^name => _nested} -> {:error, refusal(name, "one text")}
      _not_given -> {:ok, nil}
    end
  end

  @doc "A whole number of a range."
  @spec integer(t, String.t(), integer, Range.t()) :: {:ok, integer} | {:error, refusal}
  def integer(params, name, default, first..last//_) do
    read(params, name, default, fn text ->
      case Integer.parse(text) do
        {number, ""} when number >= first and number <= last -> {:ok, number}
        _other -> {:error, refusal(name, "a number from #{first} to #{last}")}
      end
    end)
  end

  @doc "One of some words, as what it stands for."
  @spec one_of(t, String.t(), default :: value, %{String.t() => value}) :: {:ok, value} | {:error, refusal}
        when value: term
  def one_of(params, name, default, words) do
    read(params, name, default, fn text ->
      case words do
        %{^text => value} -> {:ok, value}
        _other -> {:error, refusal(name, "one of " <> Enum.join(Map.keys(words), ", "))}
      end
    end)
  end

  @doc "The term of a key, or `nil`."
  @spec key(t, String.t()) :: {:ok, {:term, term} | nil} | {:error, refusal}
  def key(params, name) do
    read(params, name, nil, fn text ->
      case Kantoku.Api.Shown.term(text) do
        {:ok, term} -> {:ok, {:term, term}}
        :error -> {:error, refusal(name, "a key as an earlier answer had it")}
      end
    end)
  end

  defp read(params, name, default, fun) do
    case text(params, name) do
      {:ok, nil} -> {:ok, default}
      {:ok, text} -> fun.(text)
      error -> error
    end
  end

  @spec refusal(String.t(), String.t()) :: refusal
  def refusal(name, expected), do: {400, :bad_request, "#{name}: expected #{expected}"}
end
