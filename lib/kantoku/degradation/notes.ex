defmodule Kantoku.Degradation.Notes do
  # What is known of an instance's degradation, in its book, so that it outlives who watches: the options, the level, what was read. The
  # level is a word of shared memory, for those who ask at each request. Rows: {:degradation, options or nil, level},
  # {:degradation_read, what was read, since when it is this level}. Decides nothing.
  @moduledoc false

  alias Kantoku.Degradation
  alias Kantoku.Degradation.Config
  alias Kantoku.Domain.Book

  @doc "Enters the options of an instance that starts."
  @spec enter(:ets.tid(), Config.t() | nil) :: true
  def enter(book, config), do: :ets.insert(book, {:degradation, config, :atomics.new(1, signed: false)})

  @spec config(:ets.tid()) :: Config.t() | nil
  def config(book), do: :ets.lookup_element(book, :degradation, 2)

  @spec put_config(:ets.tid(), Config.t()) :: boolean
  def put_config(book, config), do: :ets.update_element(book, :degradation, {2, config})

  @doc "Where the level is, for `level/1`."
  @spec gauge(:ets.tid()) :: :atomics.atomics_ref()
  def gauge(book), do: :ets.lookup_element(book, :degradation, 3)

  @spec level(:atomics.atomics_ref()) :: Degradation.level()
  def level(gauge), do: :atomics.get(gauge, 1)

  @doc "Whether this is shed now; in a book without degradation nothing is."
  @spec sheds?(:ets.tid(), Degradation.shed()) :: boolean
  def sheds?(book, shed) do
    case :ets.lookup(book, :degradation) do
      [{_key, _config, gauge}] -> shed in Degradation.sheds(level(gauge))
      [] -> false
    end
  end

  @doc "Says who watches."
  @spec seat(:ets.tid(), pid) :: boolean
  def seat(book, pid), do: Book.seat(book, :degradation, Book.next_epoch([]), pid)

  @doc "Who watches, dead or alive."
  @spec watch(:ets.tid()) :: pid | nil
  def watch(book), do: Book.seated(book, :degradation)

  @doc "Enters what was read, and the level that it came to."
  @spec put(:ets.tid(), map, Degradation.level()) :: :ok
  def put(book, read, level) do
    gauge = gauge(book)
    since = if level == level(gauge), do: since(book), else: now()
    :ets.insert(book, {:degradation_read, read, since})
    :atomics.put(gauge, 1, level)
  end

  defp since(book) do
    case :ets.lookup(book, :degradation_read) do
      [{_key, _read, since}] -> since
      [] -> now()
    end
  end

  @doc "What `Kantoku.Degradation.status/1` answers; `nil` if it is off."
  @spec status(:ets.tid()) :: Degradation.status() | nil
  def status(book) do
    with %Config{} <- config(book) do
      level = level(gauge(book))
      Map.merge(read(book), %{level: level, sheds: Degradation.sheds(level)})
    end
  end

  defp read(book) do
    case :ets.lookup(book, :degradation_read) do
      [{_key, read, since}] -> Map.put(read, :since, now() - since)
      [] -> %{memory: :unknown, run_queue: :unknown, since: 0}
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
