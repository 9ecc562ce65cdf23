defmodule Kantoku.Api.Search do
  # A query as people type it, for the criteria of `Kantoku.Registry.find/2` and for what rows of agents say: terms between blanks, of which all
  # have to hold.
  #
  #     planner                 its id contains this        domain:tools   phase:parked
  #     tag:gpu  tag:"two words"  capability:search         type:MyApp.Planner  status:idle  region:eu  node:a@host
  #     meta.tenant:7           metadata                    tag:a|b        at least one of them       -tag:gpu   not so
  #     health:unhealthy|stuck  its state of health         risk:memory    what it is at risk of      risk:any   of anything
  #
  # What is typed has no types: `gpu` is the text and the atom, `7` the number as well. Of atoms only those are meant that there are, so none
  # is made; one that is not there is on no agent.
  @moduledoc false

  alias Kantoku.Api.Fates

  @phases ~w(starting up restarting parked stopped)
  @atoms %{"type" => :type, "status" => :status, "node" => :node}
  @labels %{"tag" => :tag, "capability" => :capability, "region" => :region}
  @rows ~w(id domain phase health risk)
  # A state, or what `Kantoku.why/2` says of some of the unhealthy ones.
  @healths ~w(healthy degraded starting unknown unhealthy stuck)
  @risks ["any" | Fates.kinds()]
  @names Enum.join(Enum.sort(Map.keys(@atoms) ++ Map.keys(@labels) ++ @rows), ", ") <> ", meta.KEY"

  @enforce_keys [:criteria, :none?, :rows]
  defstruct @enforce_keys

  @typedoc """
  `criteria`: for the registry. `none?`: no agent can have that. `rows`: conditions on an agent's row, and on what health says of it (`:health`, `:risk`);
  values are texts as they are shown.
  """
  @type t :: %__MODULE__{
          criteria: keyword,
          none?: boolean,
          rows: [{:id | :domain | :phase | :health | :risk, [String.t()], wanted :: boolean}]
        }

  @everything %{criteria: [], none?: false, rows: []}

  @doc "Reads a query, or says what was expected and where."
  @spec parse(String.t() | nil) :: {:ok, t} | {:error, Kantoku.Api.Params.refusal()}
  def parse(nil), do: {:ok, struct!(__MODULE__, @everything)}
  def parse(text) when byte_size(text) > 1_000, do: {:error, refusal("at most 1000 bytes", 1001)}

  def parse(text) do
    case terms(text, 1, []) do
      {:ok, terms} -> compile(terms, struct!(__MODULE__, @everything))
      {:error, _refusal} = error -> error
    end
  end

  # Words ------------------------------------------------------------------------------------------------------------------

  # Each as {position of its first character, wanted?, name or nil, values}.
  defp terms("", _at, terms), do: {:ok, Enum.reverse(terms)}
  defp terms(" " <> rest, at, terms), do: terms(rest, at + 1, terms)

  defp terms("-" <> rest, at, terms), do: term(rest, at + 1, false, terms)
  defp terms(text, at, terms), do: term(text, at, true, terms)

  defp term(text, at, wanted?, terms) do
    with {:ok, first, rest, next} <- value(text, at, [" ", "|", "\"", ":"]),
         do: named(first, rest, next, {at, wanted?}, terms)
  end

  defp named({:word, name}, ":" <> rest, next, {at, wanted?}, terms) do
    with {:ok, values, rest, next} <- values(rest, next + 1, []),
         do: ended(rest, next, [{at, wanted?, name, values} | terms])
  end

  defp named({_kind, text}, "|" <> rest, next, {at, wanted?}, terms) do
    with {:ok, values, rest, next} <- values(rest, next + 1, [text]),
         do: ended(rest, next, [{at, wanted?, nil, values} | terms])
  end

  defp named({_kind, text}, rest, next, {at, wanted?}, terms),
    do: ended(rest, next, [{at, wanted?, nil, [text]} | terms])

  defp ended("", at, terms), do: terms("", at, terms)
  defp ended(" " <> _ = rest, at, terms), do: terms(rest, at, terms)
  defp ended(_other, at, _terms), do: {:error, refusal("a blank", at)}

  defp values(text, at, values) do
    case value(text, at) do
      {:ok, {_kind, value}, "|" <> rest, next} -> values(rest, next + 1, [value | values])
      {:ok, {_kind, value}, rest, next} -> {:ok, Enum.reverse([value | values]), rest, next}
      error -> error
    end
  end

  # A quoted one may hold anything but a quote; a word ends before the first of `ends`.
  defp value(text, at, ends \\ [" ", "|", "\""])

  defp value(~s(") <> rest, at, _ends) do
    case String.split(rest, ~s("), parts: 2) do
      [text, rest] -> {:ok, {:quoted, text}, rest, at + String.length(text) + 2}
      [_unended] -> {:error, refusal(~s(a closing "), at)}
    end
  end

  defp value(text, at, ends) do
    case String.split(text, ends, parts: 2) do
      ["" | _] -> {:error, refusal("a name or a value", at)}
      [word | _] -> {:ok, {:word, word}, String.replace_prefix(text, word, ""), at + String.length(word)}
    end
  end

  # Meaning ----------------------------------------------------------------------------------------------------------------

  defp compile([], search), do: {:ok, search}

  defp compile([{at, wanted?, name, values} | terms], search) do
    case meaning(name, values) do
      {:row, field} -> compile(terms, %{search | rows: [{field, values, wanted?} | search.rows]})
      {:criterion, dimension, found} -> compile(terms, criterion(search, dimension, found, wanted?))
      {:error, expected} -> {:error, refusal(expected, at)}
    end
  end

  defp meaning(nil, _values), do: {:row, :id}
  defp meaning("id", _values), do: {:row, :id}
  defp meaning("domain", _values), do: {:row, :domain}

  defp meaning("phase", values), do: one_of(:phase, values, @phases)
  defp meaning("health", values), do: one_of(:health, values, @healths)
  defp meaning("risk", values), do: one_of(:risk, values, @risks)

  defp meaning("meta." <> key, values) when key != "" do
    pairs = for key <- readings(key), value <- Enum.flat_map(values, &readings/1), do: %{key => value}
    {:criterion, :metadata, pairs}
  end

  defp meaning(name, values) do
    case {@atoms, @labels} do
      {%{^name => dimension}, _labels} -> {:criterion, dimension, Enum.flat_map(values, &atoms/1)}
      {_atoms, %{^name => dimension}} -> {:criterion, dimension, Enum.flat_map(values, &labels/1)}
      _unknown -> {:error, "one of #{@names} before a colon"}
    end
  end

  defp one_of(field, values, words) do
    if values -- words == [],
      do: {:row, field},
      else: {:error, "one of " <> Enum.join(words, ", ") <> " after #{field}:"}
  end

  # What nobody can have nobody has; and nobody is left out for it.
  defp criterion(search, _dimension, [], true), do: %{search | none?: true}
  defp criterion(search, _dimension, [], false), do: search
  defp criterion(search, dimension, found, true), do: add(search, {:any, [{dimension, found}]})
  defp criterion(search, dimension, found, false), do: add(search, {:not, [{dimension, found}]})

  defp add(search, criterion), do: %{search | criteria: [criterion | search.criteria]}

  # Values as they may be meant.
  defp readings(text), do: labels(text) ++ numbers(text)

  defp labels(":" <> _ = text), do: existing(text)
  # No label is longer.
  defp labels(text) when byte_size(text) > 255, do: []
  defp labels(text), do: [text | existing(text)]

  defp numbers(text) do
    case Integer.parse(text) do
      {number, ""} when abs(number) < 0x400000000000000 -> [number]
      _other -> []
    end
  end

  defp atoms(text), do: existing(text) ++ existing("Elixir." <> text)

  defp existing(":" <> name), do: existing(name)
  defp existing(name) when name in ["", "nil"] or byte_size(name) > 255, do: []

  defp existing(name) do
    [String.to_existing_atom(name)]
  rescue
    ArgumentError -> []
  end

  defp refusal(expected, at), do: {400, :bad_query, "q: expected #{expected}, at character #{at}"}
end
