defmodule Kantoku.Pool.Detours do
  # Which pools' requests do not go straight to the engine: traced, counted for an objective, past a breaker, by a module that chooses the worker,
  # or not at all while low priorities are shed. One word for the whole VM says whether any pool ever had one: where none has, a request
  # pays for one read of memory that all schedulers share.
  @moduledoc false

  alias Kantoku.Error
  alias Kantoku.Pool.Shed

  @any __MODULE__

  @type kind :: :trace | :objective | :breaker | :choice | :shed

  @type further :: :objective | :breaker | :choice | nil | {:error, Error.t()}

  @doc "What is to be done for a request of a pool before the engine is asked: nothing, `:choice`, or `:breaker` and then that."
  @spec of(Kantoku.Pool.t()) :: :breaker | :choice | nil
  def of(pool), do: if(:persistent_term.get(@any, false), do: kind(pool))

  @doc """
  The same of a request with these options, or why it is refused at once; or `:objective`, and then what is `beyond/2`, as a refusal counts
  as well; or `:trace`, and then what is `untraced/2`.
  """
  @spec way(Kantoku.Pool.t(), keyword) :: :trace | further
  def way(pool, opts) do
    if :persistent_term.get(@any, false) do
      if get(:trace, pool), do: :trace, else: untraced(pool, opts)
    end
  end

  @doc "As `way/2`, of a request that is traced, or that nobody traces."
  @spec untraced(Kantoku.Pool.t(), keyword) :: further
  def untraced(pool, opts), do: if(get(:objective, pool), do: :objective, else: beyond(pool, opts))

  @doc "As `way/2`, of what no objective counts."
  @spec uncounted(Kantoku.Pool.t(), keyword) :: :trace | :breaker | :choice | nil | {:error, Error.t()}
  def uncounted(pool, opts) do
    if :persistent_term.get(@any, false) do
      if get(:trace, pool), do: :trace, else: beyond(pool, opts)
    end
  end

  @doc "As `way/2`, of a request that is counted, or that nobody counts."
  @spec beyond(Kantoku.Pool.t(), keyword) :: :breaker | :choice | nil | {:error, Error.t()}
  def beyond(pool, opts), do: with(:ok <- Shed.let(pool, opts), do: kind(pool))

  defp kind(pool) do
    cond do
      get(:breaker, pool) -> :breaker
      get(:choice, pool) -> :choice
      true -> nil
    end
  end

  @doc "What was put for a pool."
  @spec get(kind, Kantoku.Pool.t()) :: term
  def get(kind, pool), do: :persistent_term.get({@any, kind, pool}, nil)

  @doc "Has requests of a pool make a detour."
  @spec put(kind, Kantoku.Pool.t(), term) :: :ok
  def put(kind, pool, what) do
    :persistent_term.put({@any, kind, pool}, what)
    :persistent_term.put(@any, true)
  end

  @doc "Ends a detour."
  @spec erase(kind, Kantoku.Pool.t()) :: :ok
  def erase(kind, pool) do
    :persistent_term.erase({@any, kind, pool})
    :ok
  end
end
