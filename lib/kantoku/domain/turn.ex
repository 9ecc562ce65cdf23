defmodule Kantoku.Domain.Turn do
  # Lets one process at a time stop, start or restart a declared agent. A group's supervisor terminates by id, not by pid, so the
  # termination that someone asks for late would hit what someone else has started since. Knows no row.
  #
  # A turn ends with its holder at the latest: what that sent is then in the supervisor's queue, before whatever the next one sends.
  @moduledoc false

  # How long to wait between two looks, in ms; doubles to the second.
  @look 1
  @longest_look 50

  @doc "Runs `fun` when it is the caller's turn."
  @spec take(:ets.tid(), term, (() -> result), pos_integer) :: result when result: term
  def take(book, id, fun, look \\ @look) do
    with :busy <- try_take(book, id, fun) do
      Process.sleep(look)
      take(book, id, fun, min(look * 2, @longest_look))
    end
  end

  @doc "Runs `fun` if nobody has the turn; `:busy` if somebody does."
  @spec try_take(:ets.tid(), term, (() -> result)) :: result | :busy when result: term
  def try_take(book, id, fun) do
    turn = {{:turn, id}, self()}
    if enter(book, turn), do: run(book, turn, fun), else: :busy
  end

  defp run(book, turn, fun) do
    fun.()
  after
    :ets.delete_object(book, turn)
  end

  defp enter(book, turn), do: :ets.insert_new(book, turn) or (clear(book, turn) and enter(book, turn))

  defp clear(book, {key, _self}) do
    case :ets.lookup(book, key) do
      [{^key, holder} = turn] -> not Process.alive?(holder) and :ets.delete_object(book, turn)
      [] -> true
    end
  end
end
