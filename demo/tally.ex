defmodule Demo.Tally do
  # Terms and figures of text, counted, and how counts add up. Pure.
  @moduledoc false

  defstruct terms: %{}, figures: {0, 0, 0}

  @typedoc "How often each term occurs; and how many figures there are, their sum, and the largest."
  @type t :: %__MODULE__{
          terms: %{binary => pos_integer},
          figures: {non_neg_integer, non_neg_integer, non_neg_integer}
        }

  @shortest 3
  @longest 32
  @most_digits 15

  defguardp is_lower(c) when c in ?a..?z or c > 127
  defguardp is_upper(c) when c in ?A..?Z
  defguardp is_digit(c) when c in ?0..?9

  @doc """
  What is in a text. A term is 3 to 32 letters in lower case (all that is not ASCII counts as letters), a figure up to 15 digits.

      iex> Demo.Tally.of("The 2 cats, the 40 dogs")
      %Demo.Tally{terms: %{"the" => 2, "cats" => 1, "dogs" => 1}, figures: {2, 42, 40}}
  """
  @spec of(binary) :: t
  def of(text) do
    {words, figures} = between(text, text, 0, [], {0, 0, 0})
    # A part of a binary keeps the whole of it: the text would stay for the sake of its terms.
    terms = Map.new(Enum.frequencies(words), fn {word, count} -> {:binary.copy(word), count} end)
    %__MODULE__{terms: terms, figures: figures}
  end

  defp between(<<c, rest::binary>>, text, at, words, figures) when is_lower(c),
    do: lower(rest, text, at, 1, words, figures)

  defp between(<<c, rest::binary>>, text, at, words, figures) when is_upper(c),
    do: mixed(rest, text, at, 1, words, figures)

  defp between(<<c, rest::binary>>, text, at, words, figures) when is_digit(c),
    do: figure(rest, text, at + 1, 1, c - ?0, words, figures)

  defp between(<<_c, rest::binary>>, text, at, words, figures), do: between(rest, text, at + 1, words, figures)
  defp between(<<>>, _text, _at, words, figures), do: {words, figures}

  defp lower(<<c, rest::binary>>, text, at, size, words, figures) when is_lower(c),
    do: lower(rest, text, at, size + 1, words, figures)

  defp lower(<<c, rest::binary>>, text, at, size, words, figures) when is_upper(c),
    do: mixed(rest, text, at, size + 1, words, figures)

  defp lower(rest, text, at, size, words, figures) when size in @shortest..@longest,
    do: between(rest, text, at + size, [binary_part(text, at, size) | words], figures)

  defp lower(rest, text, at, size, words, figures), do: between(rest, text, at + size, words, figures)

  # Most words are in lower case as they are; only the others are made anew.
  defp mixed(<<c, rest::binary>>, text, at, size, words, figures) when is_lower(c) or is_upper(c),
    do: mixed(rest, text, at, size + 1, words, figures)

  defp mixed(rest, text, at, size, words, figures) when size in @shortest..@longest,
    do: between(rest, text, at + size, [String.downcase(binary_part(text, at, size), :ascii) | words], figures)

  defp mixed(rest, text, at, size, words, figures), do: between(rest, text, at + size, words, figures)

  defp figure(<<c, rest::binary>>, text, at, digits, value, words, figures) when is_digit(c),
    do: figure(rest, text, at + 1, digits + 1, value * 10 + c - ?0, words, figures)

  defp figure(rest, text, at, digits, value, words, figures) when digits <= @most_digits,
    do: between(rest, text, at, words, sum(figures, {1, value, value}))

  defp figure(rest, text, at, _digits, _value, words, figures), do: between(rest, text, at, words, figures)

  @doc "Both together."
  @spec merge(t, t) :: t
  def merge(a, b) do
    terms = Map.merge(a.terms, b.terms, fn _term, m, n -> m + n end)
    %__MODULE__{terms: terms, figures: sum(a.figures, b.figures)}
  end

  defp sum({count, total, largest}, {more, value, other}), do: {count + more, total + value, max(largest, other)}

  @doc "As merged with itself, `times` in all."
  @spec times(t, non_neg_integer) :: t
  def times(_tally, 0), do: %__MODULE__{}

  def times(%{terms: terms, figures: {count, total, largest}}, times) do
    terms = Map.new(terms, fn {term, n} -> {term, n * times} end)
    %__MODULE__{terms: terms, figures: {count * times, total * times, largest}}
  end

  @doc """
  How far a tally is from what it should be: `{lost, twice}`, occurrences of terms and figures too few and too many. A tally is the
  same as another exactly when `==` says so.
  """
  @spec compare(t, should :: t) :: {lost :: non_neg_integer, twice :: non_neg_integer}
  def compare(is, should) do
    differences =
      for term <- Map.keys(Map.merge(is.terms, should.terms)), do: count(is.terms, term) - count(should.terms, term)

    Enum.reduce([elem(is.figures, 0) - elem(should.figures, 0) | differences], {0, 0}, fn
      difference, {lost, twice} when difference < 0 -> {lost - difference, twice}
      difference, {lost, twice} -> {lost, twice + difference}
    end)
  end

  defp count(terms, term), do: Map.get(terms, term, 0)
end
