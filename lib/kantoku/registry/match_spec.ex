defmodule Kantoku.Registry.MatchSpec do
  # Match specifications over entries, run on what the engine answers. They see an entry as `{key, {pid, value}}`. Knows
  # nothing of where entries are kept.
  @moduledoc false

  @type object :: {key :: term, {pid, value :: term}}
  @type compiled :: :ets.compiled_match_spec()

  @doc "For the values under one key: all entries whose value matches; the object is the result."
  @spec values(term, [term]) :: compiled
  def values(pattern, guards), do: :ets.match_spec_compile([{{:_, {:_, pattern}}, guards, [:"$_"]}])

  @doc "For whole entries; `caller` is who to name where the shape is wrong."
  @spec entries([tuple], String.t()) :: compiled
  def entries(spec, caller) do
    spec |> Enum.map(&entry_clause(&1, spec, caller)) |> :ets.match_spec_compile()
  end

  defp entry_clause({{key, pid, value}, guards, body}, _spec, _caller), do: {{key, {pid, value}}, guards, body}

  defp entry_clause(_clause, spec, caller) do
    raise ArgumentError, "invalid match specification in #{caller}: #{inspect(spec)}"
  end

  @spec run([object], compiled) :: [term]
  def run(objects, compiled), do: :ets.match_spec_run(objects, compiled)

  @doc """
  The key of a clause that can match one key only, so that it needs no scan: a head whose key has nothing variable.
  """
  @spec single_key([tuple]) :: {:ok, term} | :error
  def single_key([{{key, _pid, _value}, _guards, _body}]), do: if(constant?(key), do: {:ok, key}, else: :error)
  def single_key(_spec), do: :error

  # A map in a pattern matches larger maps too. Numbers inside are compared as the rest of a pattern is, by `=:=`.
  defp constant?(key) when is_atom(key), do: key != :_ and not variable?(Atom.to_string(key))
  defp constant?(key) when is_map(key), do: false
  defp constant?([head | tail]), do: constant?(head) and constant?(tail)
  defp constant?(key) when is_tuple(key), do: key |> Tuple.to_list() |> constant?()
  defp constant?(_key), do: true

  defp variable?("$" <> _name), do: true
  defp variable?(_name), do: false
end
