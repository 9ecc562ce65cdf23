defmodule Kantoku.Why.OfPool do
  # Why a pool does not serve, or not as it should. Asks no process.
  @moduledoc false

  alias Kantoku.{Degradation, Error, Pool, Why}
  alias Kantoku.Why.OfAgent

  # Workers are explained one by one, up to so many.
  @explained 20

  @spec why(atom, atom) :: {:ok, [Why.t()]} | {:error, Error.t()}
  def why(instance, name) do
    pool = {instance, name}

    with {:ok, status} <- Pool.status(pool), {:ok, workers} <- Pool.workers(pool) do
      {:ok,
       draining(pool, status) ++
         Why.breaker(instance, {:pool, name}) ++
         shed(pool) ++ panic(pool, status) ++ workers(pool, status, workers) ++ full(pool, status)}
    end
  end

  defp draining(_pool, %{draining: false}), do: []
  defp draining(pool, _status), do: [%Why{reason: :draining, text: Exception.message(Error.new(:draining, pool: pool))}]

  # Only as long as it is so.
  defp shed({instance, _name} = pool) do
    with true <- Pool.Shed.shedding?(pool), {:ok, %{level: level} = status} <- Degradation.status(instance) do
      [
        %Why{
          reason: :overloaded,
          since: status.since,
          evidence: Map.take(status, [:level, :memory, :run_queue, :sheds]),
          lift: {Degradation, :configure, [instance, [max_level: level - 1]]},
          text: Exception.message(Error.new(:overloaded, pool: pool, level: level, retry_in: 0))
        }
      ]
    else
      _not_shed -> []
    end
  end

  defp panic(_pool, %{panic: false}), do: []

  defp panic({_instance, name}, status) do
    [
      %Why{
        reason: :panic,
        evidence: Map.take(status, [:ejected, :not_ready, :workers]),
        text:
          "of #{status.workers} workers of pool #{inspect(name)} #{status.ejected} are ejected and #{status.not_ready} not ready, so all that " <>
            "live are given work; Kantoku.why/2 of a worker says why it is out, Kantoku.Pool.readmit/2 lets ejected ones in"
      }
    ]
  end

  # Down, or up and not taking work: each has a call of its own that brings it back.
  defp workers({_instance, _name} = pool, %{wanted: wanted} = status, workers) do
    missing = max(wanted - status.ready, status.missing)

    if missing > 0,
      do: [
        missing(pool, missing, status, for(%{state: state, id: id} <- workers, state not in [:ready, :busy], do: id))
      ],
      else: []
  end

  defp missing({instance, name}, missing, %{wanted: wanted, reason: reason}, ids) do
    %Why{
      reason: :workers,
      evidence: %{missing: missing, wanted: wanted, exit: reason, workers: explained(instance, ids)},
      text:
        "#{missing} of #{wanted} workers of pool #{inspect(name)} take no work (last failure: #{inspect(reason)}); the evidence " <>
          "says why of each, and which call brings it back"
    }
  end

  defp explained(instance, ids) do
    for id <- Enum.take(ids, @explained), {:ok, causes} <- [OfAgent.why(instance, id)], into: %{}, do: {id, causes}
  end

  defp full(_pool, %{queue: 0, overloaded: false}), do: []

  defp full({_instance, name} = pool, %{queue: queue, overloaded: overloaded?}) do
    cond do
      overloaded? -> [crowded(:overloaded, name, queue, "waits for too long")]
      queue >= most(pool) -> [crowded(:queue_full, name, queue, "has as many waiting as may")]
      true -> []
    end
  end

  defp most({instance, name}) do
    Kantoku.Instances.reading(instance, fn _rows, book ->
      case Pool.Notes.config(book, name) do
        nil -> :infinity
        config -> config.max_queue
      end
    end)
  end

  # How many more workers there may be is not ours to say.
  defp crowded(reason, name, queue, text) do
    %Why{
      reason: reason,
      evidence: %{queue: queue},
      text:
        "pool #{inspect(name)} #{text} (#{queue} requests); more workers (Kantoku.Pool.update/2) or fewer requests end that"
    }
  end
end
