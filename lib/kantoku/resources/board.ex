defmodule Kantoku.Resources.Board do
  # What was found of agents, where all may read it. One process publishes; those that look at agents for it note their work. Rows:
  #
  #   {pid, reductions, monotonic ms}    of each agent, at the last look
  #   {{kind, rank}, entry}              who has most, from 1
  #   {:sums, by domain, monotonic ms}   of the last walk that is through
  #
  # The first kind is all that is kept of an agent, however little it does: a rate needs two looks, and whoever was left out at one look
  # would have no rate at the next. Nine words with what the table itself needs: 72 bytes. All else that is known of an agent is read
  # from its process when it is asked for, or published of the first only.
  @moduledoc false

  alias Kantoku.Domain.Book
  alias Kantoku.Health
  alias Kantoku.Resources.Census

  @doc "Makes the table, which lives as long as the calling process, and says in the book where it is; unless it is not wanted."
  @spec new_table(:ets.tid()) :: :ets.tid() | nil
  def new_table(book) do
    if limit(book) do
      board = :ets.new(__MODULE__, [:public, write_concurrency: true])
      Book.seat(book, :resources, Book.next_epoch([]), board)
      board
    end
  end

  @doc "Enters the options of an instance in its book."
  @spec enter(:ets.tid(), %{top: pos_integer} | false) :: true
  def enter(book, false), do: :ets.insert(book, {:resources_top, nil})
  def enter(book, %{top: top}), do: :ets.insert(book, {:resources_top, top})

  @doc "How many of each kind are published; `nil` if nothing is."
  @spec limit(:ets.tid()) :: pos_integer | nil
  def limit(book), do: :ets.lookup_element(book, :resources_top, 2)

  @doc "Whether agents are looked at, and what is found is kept."
  @spec wanted?(:ets.tid()) :: boolean
  def wanted?(book), do: Health.Board.wanted?(book) and limit(book) != nil

  @spec of(:ets.tid()) :: :ets.tid() | nil
  def of(book), do: Book.seated(book, :resources)

  @doc "Runs `fun` with the board of an instance; `nil` if there is none, or about to be one again."
  @spec reading(atom, (:ets.tid() -> result)) :: result | nil | {:error, Kantoku.Error.t()} when result: term
  def reading(instance, fun) do
    Kantoku.Instances.reading(instance, fn _rows, book ->
      if wanted?(book), do: read(of(book), fun)
    end)
  end

  defp read(nil, _fun), do: nil

  defp read(board, fun) do
    fun.(board)
  rescue
    error in ArgumentError -> if :ets.info(board, :id) == :undefined, do: nil, else: reraise(error, __STACKTRACE__)
  end

  # Writing ------------------------------------------------------------------------------------------------------------------

  @doc "Notes an agent's reductions so far; those a second since the last look, if there was one."
  @spec work(:ets.tid(), pid, non_neg_integer, now :: integer) :: non_neg_integer | nil
  def work(board, pid, reductions, now) do
    rate = rate(board, pid, reductions, now)
    :ets.insert(board, {pid, reductions, now})
    rate
  end

  @doc "An agent's reductions a second since the last look, if there was one."
  @spec rate(:ets.tid(), pid, non_neg_integer, now :: integer) :: non_neg_integer | nil
  def rate(board, pid, reductions, now) do
    case :ets.lookup(board, pid) do
      [{_pid, least, since}] when now > since -> div(max(reductions - least, 0) * 1_000, now - since)
      _first -> nil
    end
  end

  @doc "When an agent was looked at last (monotonic ms)."
  @spec seen(:ets.tid(), pid) :: integer | nil
  def seen(board, pid) do
    case :ets.lookup(board, pid) do
      [{_pid, _reductions, at}] -> at
      [] -> nil
    end
  end

  @doc "Forgets who was not looked at since `before`: it is gone."
  @spec sweep(:ets.tid(), before :: integer) :: non_neg_integer
  def sweep(board, before),
    do: :ets.select_delete(board, [{{:"$1", :_, :"$2"}, [{:is_pid, :"$1"}, {:<, :"$2", before}], [true]}])

  @spec put_tops(:ets.tid(), %{Census.kind() => [Census.entry()]}) :: :ok
  def put_tops(board, tops) do
    for {kind, entries} <- tops do
      :ets.insert(board, for({entry, rank} <- Enum.with_index(entries, 1), do: {{kind, rank}, entry}))
      :ets.delete(board, {kind, length(entries) + 1})
    end

    :ok
  end

  @spec put_sums(:ets.tid(), %{Kantoku.Domain.name() => Census.sums()}, now :: integer) :: true
  def put_sums(board, sums, now), do: :ets.insert(board, {:sums, sums, now})

  # Reading ------------------------------------------------------------------------------------------------------------------

  @doc "The first `k` of a kind that live: that many look-ups. Who changed its rank meanwhile is named once."
  @spec top(:ets.tid(), Census.kind(), non_neg_integer) :: [Census.entry()]
  def top(board, kind, k) do
    board |> ranked(kind, 1, k) |> Enum.uniq_by(& &1.id)
  end

  defp ranked(_board, _kind, rank, k) when rank > k, do: []

  defp ranked(board, kind, rank, k) do
    case :ets.lookup(board, {kind, rank}) do
      [{_rank, entry}] -> if(Process.alive?(entry.pid), do: [entry], else: []) ++ ranked(board, kind, rank + 1, k)
      [] -> []
    end
  end

  @spec sums(:ets.tid()) :: {%{Kantoku.Domain.name() => Census.sums()}, at :: integer} | nil
  def sums(board) do
    case :ets.lookup(board, :sums) do
      [{:sums, sums, at}] -> {sums, at}
      [] -> nil
    end
  end
end
