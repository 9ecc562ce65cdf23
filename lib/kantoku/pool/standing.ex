defmodule Kantoku.Pool.Standing do
  # How a pool's workers stand: what the engine says of who is ejected, as maps and as events; and what is done by hand. Decides
  # nothing.
  @moduledoc false

  alias Kantoku.{Engine, Error}
  alias Kantoku.Pool.{Notes, Worker}

  @typedoc "Of a worker that is ejected: why, for how many ms it has been and will be, and how often it was."
  @type ejection :: %{
          cause: :consecutive_failures | :success_rate | :latency | :by_hand,
          evidence: map,
          enforced: boolean,
          since: non_neg_integer,
          left: non_neg_integer | :infinity,
          times: non_neg_integer
        }

  @doc "By member: its ejection, `nil` if it is in, and the percent that it gets of its share."
  @spec all(Kantoku.Pool.t()) :: %{non_neg_integer => %{ejection: ejection | nil, share: 0..100}}
  def all(pool),
    do:
      for(
        {member, _, _, _, _, _, share} = told <- told(pool),
        into: %{},
        do: {member, %{ejection: ejection(told), share: share}}
      )

  @doc "The ejection of one."
  @spec ejection_of(Kantoku.Pool.t(), non_neg_integer) :: ejection | nil
  def ejection_of(pool, member), do: with(%{ejection: ejection} <- all(pool)[member], do: ejection)

  defp told({instance, pool}) do
    case Engine.Pools.pool_ejections(instance, pool) do
      :unknown -> []
      told -> told
    end
  end

  defp ejection({_member, state, cause, since, left, times, _share}) when state in [:ejected, :observed] do
    {cause, evidence} = cause(cause)
    %{cause: cause, evidence: evidence, enforced: state == :ejected, since: since, left: left, times: times}
  end

  defp ejection(_in), do: nil

  # Rates in percent.
  defp cause({:consecutive_failures, count}), do: {:consecutive_failures, %{failures: count}}

  defp cause({:success_rate, rate, threshold, workers}),
    do: {:success_rate, %{rate: rate / 10_000, threshold: threshold / 10_000, workers: workers}}

  defp cause({:latency, mean, median, workers}),
    do: {:latency, %{mean_us: mean, median_us: median, workers: workers}}

  defp cause(:by_hand), do: {:by_hand, %{}}

  # Events -----------------------------------------------------------------------------------------------------------------

  @doc "The events of what the engine told the foreman: names without `:pool`, measurements, metadata."
  @spec events(Kantoku.Pool.t(), term) :: [{atom, map, map}]
  def events(pool, {:ejected, pid, member}) do
    # It may have been let in meanwhile, which is told next.
    found = ejection_of(pool, member) || %{cause: nil, evidence: %{}, enforced: true, left: 0, times: 0}
    {times, about} = found |> Map.delete(:since) |> Map.pop!(:times)
    [{:worker_ejected, %{times: times}, Map.merge(about, %{member: member, pid: pid})}]
  end

  def events(_pool, {:returned, member}), do: [{:worker_returned, %{}, %{member: member}}]

  def events({instance, pool}, {:panic, entered}) do
    case Engine.Pools.pool_status(instance, pool) do
      :unknown ->
        []

      status ->
        [{if(entered, do: :panic_entered, else: :panic_left), Map.take(status, [:workers, :ejected, :not_ready]), %{}}]
    end
  end

  # By hand ----------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.Pool.eject/3`."
  @spec eject(Kantoku.Pool.t(), term, keyword) :: :ok | {:error, Error.t()}
  def eject({instance, name} = pool, worker, opts) do
    ms = length!(opts)

    with {:ok, member} <- member(pool, worker),
         do: answer(pool, worker, Engine.Pools.pool_eject(instance, name, member, ms))
  end

  defp length!([]), do: :infinity
  defp length!(for: :infinity), do: :infinity
  defp length!(for: ms) when is_integer(ms) and ms in 1..0xFFFFFFFF, do: ms

  defp length!(other) do
    raise ArgumentError,
          "Kantoku.Pool.eject/3: expected for: a positive number of ms or :infinity, got: #{inspect(other)}"
  end

  @doc "See `Kantoku.Pool.readmit/2`."
  @spec readmit(Kantoku.Pool.t(), term) :: :ok | {:error, Error.t()}
  def readmit({instance, name}, :all) do
    case Engine.Pools.pool_ejections(instance, name) do
      :unknown ->
        {:error, Notes.absent(instance, name)}

      told ->
        for(one <- told, ejection(one), do: elem(one, 0)) |> Enum.each(&Engine.Pools.pool_readmit(instance, name, &1))
    end
  end

  # Who is not ejected is where it is wanted.
  def readmit({instance, name} = pool, worker) do
    with {:ok, member} <- member(pool, worker) do
      case Engine.Pools.pool_readmit(instance, name, member) do
        :unknown -> {:error, Notes.absent(instance, name)}
        _ok_or_none -> :ok
      end
    end
  end

  defp answer(_pool, _worker, :ok), do: :ok
  defp answer({_instance, name}, worker, :none), do: {:error, Error.new(:not_found, id: id(name, worker))}
  defp answer({instance, name}, _worker, :unknown), do: {:error, Notes.absent(instance, name)}

  defp member(_pool, member) when is_integer(member) and member >= 0, do: {:ok, member}
  defp member({_instance, name}, {:pool, name, member}) when is_integer(member) and member >= 0, do: {:ok, member}

  defp member({instance, name}, pid) when is_pid(pid) do
    case Engine.Pools.pool_workers(instance, name) do
      :unknown -> {:error, Notes.absent(instance, name)}
      workers -> with nil <- numbered(workers, pid), do: {:error, Error.new(:not_found, id: pid)}
    end
  end

  defp member(_pool, other),
    do: raise(ArgumentError, "expected a worker's number, id or pid, got: #{inspect(other)}")

  defp numbered(workers, pid) do
    with {_pid, member, _, _, _, _} <- List.keyfind(workers, pid, 0), do: {:ok, member}
  end

  defp id(name, member) when is_integer(member), do: Worker.id(name, member)
  defp id(_name, other), do: other
end
