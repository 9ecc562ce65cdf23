defmodule Kantoku.Pool.Scaling.Journal do
  # The last decisions about a pool's size, in the instance's book. One that moves the size is an entry; between two of these there is
  # one entry for each set of rules that held the size, with the last of its decisions and how many they were. So a log of so many
  # entries reaches far back, though there are ten decisions a second.
  @moduledoc false

  alias Kantoku.Pool.Scaler.Decision

  @kept 100

  # `held`: where the entries since the last move are, by their rules.
  defstruct next: 0, held: %{}

  @type t :: %__MODULE__{next: non_neg_integer, held: %{[atom] => {non_neg_integer, integer, pos_integer}}}
  @type entry :: {Decision.t(), since :: integer, times :: pos_integer}

  @doc "The end of a pool's journal."
  @spec open(:ets.tid(), atom) :: t
  def open(book, pool) do
    numbers = book |> :ets.match({{:pool_decision, pool, :"$1"}, :_}) |> List.flatten()
    %__MODULE__{next: Enum.max(numbers, fn -> -1 end) + 1}
  end

  @doc "Writes a decision down; whether it is an entry of its own."
  @spec write(t, :ets.tid(), atom, Decision.t()) :: {boolean, t}
  def write(%{next: next} = journal, book, pool, decision) do
    rules = Decision.limited_by(decision)

    case {Decision.move(decision), journal.held[rules]} do
      {:none, {number, since, times}} when number >= next - @kept ->
        put(book, pool, number, {decision, since, times + 1})
        {false, hold(journal, rules, {number, since, times + 1})}

      {move, _none} ->
        put(book, pool, next, {decision, decision.at, 1})
        :ets.delete(book, {:pool_decision, pool, next - @kept})
        {true, journal |> moved(move) |> hold(rules, {next, decision.at, 1}, move) |> Map.put(:next, next + 1)}
    end
  end

  defp put(book, pool, number, entry), do: :ets.insert(book, {{:pool_decision, pool, number}, entry})

  defp moved(journal, :none), do: journal
  defp moved(journal, _move), do: %{journal | held: %{}}

  defp hold(journal, rules, place, move \\ :none)
  defp hold(journal, rules, place, :none), do: %{journal | held: Map.put(journal.held, rules, place)}
  defp hold(journal, _rules, _place, _move), do: journal

  @doc "The entries, that with the newest decision first."
  @spec read(:ets.tid(), atom) :: [entry]
  def read(book, pool) do
    book
    |> :ets.match({{:pool_decision, pool, :"$1"}, :"$2"})
    |> Enum.sort_by(fn [number, {decision, _since, _times}] -> {decision.at, number} end, :desc)
    |> Enum.map(fn [_number, entry] -> entry end)
  end

  @spec delete(:ets.tid(), atom) :: true
  def delete(book, pool), do: :ets.match_delete(book, {{:pool_decision, pool, :_}, :_})
end
