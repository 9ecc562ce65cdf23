defmodule Kantoku.Health.Risks do
  # Who is at risk of what, as far as was seen. One process writes, all read; it holds only those that are. Row:
  # `{id, pid, domain, %{sign => risk}}`. Judges nobody.
  @moduledoc false

  alias Kantoku.Domain.Book
  alias Kantoku.Health.Outlook

  @typedoc "What grows: bytes of its process, messages that wait, ms to answer a probe, crashes within the budget's window."
  @type sign :: :memory | :mailbox | {:latency, probe :: term} | :restarts

  @typedoc "`since` is its monotonic ms."
  @type risk :: %{
          in: non_neg_integer,
          value: number,
          limit: pos_integer,
          rise: number,
          since: integer
        }

  @doc "Makes the table, which lives as long as the calling process, and says in the book where it is."
  @spec new_table(:ets.tid()) :: :ets.tid()
  def new_table(book) do
    risks = :ets.new(__MODULE__, [:public, read_concurrency: true])
    Book.seat(book, :health_risks, Book.next_epoch([]), risks)
    risks
  end

  @doc "What an agent is at risk of."
  @spec of(:ets.tid(), id :: term) :: %{sign => risk}
  def of(book, id) do
    reading(book, %{}, fn risks ->
      case :ets.lookup(risks, id) do
        [{_id, _pid, _domain, found}] -> found
        [] -> %{}
      end
    end)
  end

  @doc "How many agents of a domain are at risk, or of all (`nil`)."
  @spec count(:ets.tid(), Kantoku.Domain.name() | nil) :: non_neg_integer
  def count(book, nil), do: reading(book, 0, &:ets.select_count(&1, [{:_, [], [true]}]))

  def count(book, domain) do
    spec = [{{:_, :_, :"$1", :_}, [{:"=:=", :"$1", {:const, domain}}], [true]}]
    reading(book, 0, &:ets.select_count(&1, spec))
  end

  @doc "All that are at risk, and the signs of it."
  @spec all(:ets.tid()) :: [{id :: term, [sign]}]
  def all(book) do
    reading(book, [], fn risks ->
      for {id, found} <- :ets.select(risks, [{{:"$1", :_, :_, :"$2"}, [], [{{:"$1", :"$2"}}]}]),
          do: {id, Map.keys(found)}
    end)
  end

  @doc "The workers of pools that are at risk: `{pool, id, pid}`."
  @spec workers(:ets.tid()) :: [{atom, id :: term, pid}]
  def workers(risks), do: :ets.select(risks, [{{:"$1", :"$2", {:pool, :"$3"}, :_}, [], [{{:"$3", :"$1", :"$2"}}]}])

  @doc "Enters what is found of an agent, in place of what was: the signs that are new, and those that are over."
  @spec put(:ets.tid(), {id :: term, pid, Kantoku.Domain.name()}, %{sign => Outlook.risk()}, now :: integer) ::
          {new :: [sign], over :: [sign]}
  def put(risks, {id, pid, domain}, found, now) do
    before = known(risks, id, pid)
    since = fn sign -> with(%{since: since} <- before[sign], do: since, else: (nil -> now)) end
    found = Map.new(found, fn {sign, risk} -> {sign, Map.put(risk, :since, since.(sign))} end)
    if found == %{}, do: :ets.delete(risks, id), else: :ets.insert(risks, {id, pid, domain, found})
    {Map.keys(found) -- Map.keys(before), Map.keys(before) -- Map.keys(found)}
  end

  defp known(risks, id, pid) do
    case :ets.lookup(risks, id) do
      [{_id, ^pid, _domain, found}] -> found
      _none_or_a_predecessor -> %{}
    end
  end

  @doc "Nobody is at risk, as far as is known."
  @spec clear(:ets.tid()) :: true
  def clear(risks), do: :ets.delete_all_objects(risks)

  @doc "The table, for who writes it."
  @spec table(:ets.tid()) :: :ets.tid() | nil
  def table(book), do: Book.seated(book, :health_risks)

  # It goes with the supervisor of health, and is there again with the next.
  defp reading(book, none, fun) do
    case table(book) do
      nil -> none
      risks -> fun.(risks)
    end
  rescue
    ArgumentError -> none
  end
end
