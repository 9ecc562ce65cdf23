defmodule Kantoku.Options do
  # Checks keyword options against a schema, and writes their documentation from it. Knows no option by name.
  @moduledoc false

  @type kind ::
          :any
          | :atom
          | :boolean
          | :positive
          | :non_negative
          | :keyword
          | {:one_of, [term]}
          | {:list, kind}
          | {:options, schema}
          | {:positive_or, [term]}
          | {:non_negative_or, [term]}
          | {:options_or, schema, [term]}
          | {:like, expected :: String.t(), (term -> boolean)}

  @type schema :: [{atom, [kind: kind, default: term, required: boolean, doc: String.t()]}]

  @doc "The options with their defaults, as a map; nested options become maps. Raises ArgumentError that begins with `where`."
  @spec validate!(term, schema, String.t()) :: map
  def validate!(options, schema, where) do
    check_keyword!(options, where)
    check_known!(options, schema, where)
    Map.new(schema, fn {name, rules} -> {name, value!(options, name, rules, where)} end)
  end

  @doc "As `validate!/3`, but only for what is given: no defaults, nothing required."
  @spec validate_given!(term, schema, String.t()) :: map
  def validate_given!(options, schema, where) do
    check_keyword!(options, where)
    check_known!(options, schema, where)

    Map.new(options, fn {name, given} ->
      rules = schema[name]
      {name, cast!(rules[:kind], given, "#{where}, option #{inspect(name)}", &validate_given!/3)}
    end)
  end

  @doc "The schema as a Markdown list."
  @spec docs(schema) :: String.t()
  def docs(schema), do: Enum.map_join(schema, "\n", &line(&1, ""))

  defp line({name, rules}, indent) do
    own = "#{indent}  * `:#{name}` - #{rules[:doc]}#{default_note(rules)}"
    Enum.join([own | nested(rules[:kind], indent <> "  ")], "\n")
  end

  defp nested({:options, schema}, indent), do: Enum.map(schema, &line(&1, indent))
  defp nested({:options_or, schema, _}, indent), do: Enum.map(schema, &line(&1, indent))
  defp nested(_, _), do: []

  defp default_note(rules) do
    cond do
      rules[:required] -> " Required."
      match?({:options, _}, rules[:kind]) -> ""
      Keyword.has_key?(rules, :default) -> " Default `#{inspect(rules[:default])}`."
      true -> ""
    end
  end

  defp check_keyword!(options, where) do
    Keyword.keyword?(options) || raise ArgumentError, "#{where}: expected a keyword list, got: #{inspect(options)}"
  end

  defp check_known!(options, schema, where) do
    for {name, value} <- options, not Keyword.has_key?(schema, name) do
      raise ArgumentError,
            "#{where}: unknown option #{inspect(name)} (given #{inspect(value)}), " <>
              "expected one of #{inspect(Keyword.keys(schema))}"
    end
  end

  defp value!(options, name, rules, where) do
    case Keyword.fetch(options, name) do
      {:ok, given} -> cast!(rules[:kind], given, "#{where}, option #{inspect(name)}", &validate!/3)
      :error -> default!(name, rules, where)
    end
  end

  defp default!(name, rules, where) do
    cond do
      rules[:required] -> raise ArgumentError, "#{where}: option #{inspect(name)} is required and was not given"
      match?({:options, _}, rules[:kind]) -> validate!(rules[:default] || [], elem(rules[:kind], 1), where)
      match?({:options_or, _, _}, rules[:kind]) -> default_or!(rules, where)
      true -> rules[:default]
    end
  end

  defp default_or!(rules, where), do: cast!(rules[:kind], rules[:default], where, &validate!/3)

  defp cast!({:options, schema}, given, where, validate), do: validate.(given, schema, where)

  defp cast!({:options_or, schema, words}, given, where, validate) do
    if given in words, do: given, else: validate.(given, schema, where)
  end

  defp cast!({:list, kind}, given, where, validate) when is_list(given),
    do: Enum.map(given, &cast!(kind, &1, where, validate))

  defp cast!(kind, given, where, _validate) do
    if fits?(kind, given),
      do: given,
      else: raise(ArgumentError, "#{where}: expected #{expected(kind)}, got: #{inspect(given)}")
  end

  defp fits?({:like, _, fits?}, given), do: fits?.(given)
  defp fits?(:any, _), do: true
  defp fits?(:atom, given), do: is_atom(given) and given not in [nil, true, false]
  defp fits?(:boolean, given), do: is_boolean(given)
  defp fits?(:positive, given), do: is_integer(given) and given > 0
  defp fits?(:non_negative, given), do: is_integer(given) and given >= 0
  defp fits?(:keyword, given), do: Keyword.keyword?(given)
  defp fits?({:one_of, values}, given), do: given in values
  defp fits?({:positive_or, words}, given), do: given in words or fits?(:positive, given)
  defp fits?({:non_negative_or, words}, given), do: given in words or fits?(:non_negative, given)
  defp fits?({:list, _}, _), do: false

  defp expected({:like, expected, _}), do: expected
  defp expected(:atom), do: "an atom"
  defp expected(:boolean), do: "true or false"
  defp expected(:positive), do: "a positive integer"
  defp expected(:non_negative), do: "an integer of 0 or more"
  defp expected(:keyword), do: "a keyword list"
  defp expected({:one_of, values}), do: "one of #{inspect(values)}"
  defp expected({:positive_or, words}), do: "a positive integer or one of #{inspect(words)}"
  defp expected({:non_negative_or, words}), do: "an integer of 0 or more, or one of #{inspect(words)}"
  defp expected({:list, _}), do: "a list"
end
