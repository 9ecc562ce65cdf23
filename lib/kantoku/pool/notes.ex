defmodule Kantoku.Pool.Notes do
  # What is known of a pool beside the engine, in the instance's book, so that it outlives the pool's foreman: its options, its
  # foreman, what it wants and what it lacks. Knows no worker.
  @moduledoc false

  alias Kantoku.Domain.{Book, Gauges}
  alias Kantoku.{Error, Instances}
  alias Kantoku.Pool.{Condition, Config, Quota}

  @doc "Enters a pool, or new options of one."
  @spec put(:ets.tid(), Config.t()) :: true
  def put(book, config), do: :ets.insert(book, {{:pool, config.name}, config})

  @spec config(:ets.tid(), atom) :: Config.t() | nil
  def config(book, pool) do
    case :ets.lookup(book, {:pool, pool}) do
      [{_key, config}] -> config
      [] -> nil
    end
  end

  @doc "The names of all pools."
  @spec pools(:ets.tid()) :: [atom]
  def pools(book), do: book |> :ets.match({{:pool, :"$1"}, :_}) |> List.flatten()

  @doc "What the foreman saw last."
  @spec put_condition(:ets.tid(), atom, Condition.t()) :: true
  def put_condition(book, pool, condition), do: :ets.insert(book, {{:pool_condition, pool}, condition})

  @spec condition(:ets.tid(), atom) :: Condition.t()
  def condition(book, pool) do
    case :ets.lookup(book, {:pool_condition, pool}) do
      [{_key, condition}] -> condition
      [] -> Condition.unseen()
    end
  end

  @doc "What workers were last seen to use, while a quota asks for that."
  @spec put_used(:ets.tid(), atom, %{memory: number | nil, cpu: number | nil}) :: true
  def put_used(book, pool, used), do: :ets.insert(book, {{:pool_used, pool}, used})

  @unknown %{memory: nil, cpu: nil}

  defp used(book, %{name: pool, quotas: quotas}) do
    case Quota.used?(quotas) && :ets.lookup(book, {:pool_used, pool}) do
      [{_key, used}] -> used
      _none -> @unknown
    end
  end

  @doc "What `Kantoku.Pool.status/1` answers, from the engine's counts."
  @spec status(:ets.tid(), Config.t(), counts :: map) :: map
  def status(book, %{domain: domain} = config, counts) do
    config
    |> Map.take([:target, :min, :max])
    |> Map.merge(condition(book, config.name))
    |> Map.put(:used, used(book, config))
    |> Map.put(:draining, Gauges.draining?(Book.chain(book, domain.name)))
    |> Map.merge(%{counts | overloaded: counts.overloaded == 1, panic: counts.panic == 1})
  end

  @spec delete(:ets.tid(), atom) :: true
  def delete(book, pool) do
    :ets.delete(book, {:pool, pool})
    :ets.delete(book, {:pool_condition, pool})
    :ets.delete(book, {:pool_used, pool})
  end

  @doc "The pool's foreman, dead or alive."
  @spec foreman(:ets.tid(), atom) :: pid | nil
  def foreman(book, pool), do: Book.seated(book, {:foreman, pool})

  @doc "Why the engine does not know a pool."
  @spec absent(atom, atom) :: Error.t()
  def absent(instance, pool) do
    with {:ok, {_rows, book}} <- Instances.tables(instance),
         %Config{} <- config(book, pool) do
      Error.new(:restarting, pool: {instance, pool}, retry_in: 1)
    else
      {:error, error} -> error
      nil -> Error.new(:not_found, pool: {instance, pool})
    end
  rescue
    ArgumentError -> Error.new(:not_running, instance: instance)
  end
end
