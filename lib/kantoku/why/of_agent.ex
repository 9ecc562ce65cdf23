defmodule Kantoku.Why.OfAgent do
  # Why an agent does not serve: gathers what its row, its gate, its health and its breaker say. Asks no process and decides nothing.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Agent.Redaction
  alias Kantoku.{Agents, Drain, Engine, Error, Health, Why}
  alias Kantoku.Domain.{Ledger, Start}
  alias Kantoku.Health.{Board, Gate, Risks, Waits}
  alias Kantoku.Pool.Standing

  @spec why(atom, term) :: {:ok, [Why.t()]} | {:error, Error.t()}
  def why(instance, id) do
    with {:ok, {_instance, _rows, book}, row} <- Agents.find(instance, id) do
      {:ok,
       lifetime(instance, row) ++
         draining(instance, id) ++
         gate(book, id) ++
         ejected(instance, id) ++
         health(instance, id, row) ++ at_risk(instance, book, id) ++ Why.breaker(instance, {:agent, id})}
    end
  end

  # Its row ------------------------------------------------------------------------------------------------------------------

  defp lifetime(_instance, row(phase: :stopped, id: id)),
    do: [
      %Why{
        reason: :stopped,
        text: "agent #{inspect(id)} was stopped; Kantoku.start_agent/3 starts it as it was declared"
      }
    ]

  defp lifetime(_instance, row(wanted: false, id: id)), do: [said(:stopping, Error.new(:stopping, id: id), [])]

  defp lifetime(instance, row(phase: phase, id: id, since: since) = row) when phase in [:parked, :resting, :behind] do
    excuse = Start.excuse_for(row)
    lift = if phase != :behind, do: {Kantoku, :unpark, [instance, id]}
    [said(excuse.reason, excuse, since: ago(since), lift: lift, evidence: evidence(row, excuse))]
  end

  defp lifetime(_instance, row(phase: :up, pid: pid) = row) do
    if Process.alive?(pid),
      do: [],
      else: [said(:restarting, Start.excuse_for(row), evidence: evidence(row, Start.excuse_for(row)))]
  end

  defp lifetime(_instance, row(id: id)), do: [%Why{reason: :starting, text: "agent #{inspect(id)} is being started"}]

  defp evidence(row(ledger: ledger, restarts: restarts), excuse),
    do: %{crashes: Ledger.crashes(ledger), restarts: restarts, retry_in: excuse.details.retry_in}

  defp said(reason, error, fields), do: struct!(%Why{reason: reason, text: Exception.message(error)}, fields)

  defp draining(instance, id) do
    if Drain.admits?(instance, id), do: [], else: [said(:draining, Error.new(:draining, instance: instance), [])]
  end

  # Its gate -----------------------------------------------------------------------------------------------------------------

  defp gate(book, id) do
    case Gate.why(book, id) do
      nil -> []
      {probe, since} -> [shut(id, probe, ago(since))]
    end
  end

  defp shut(id, probe, since) do
    if probe == Gate.renewal(), do: renewed(id, since), else: not_ready(id, probe, since)
  end

  defp renewed(id, since) do
    %Why{
      reason: :not_ready,
      since: since,
      evidence: %{probe: nil},
      text:
        "agent #{inspect(id)} was at risk, finishes what it has and gets no more work until it is started again; " <>
          "Kantoku.Pool.update/2 with on_risk: :tell leaves such workers alone"
    }
  end

  defp not_ready(id, probe, since) do
    by = if probe, do: "probe #{inspect(probe)} does", else: "it has passed its probes for the first time"

    %Why{
      reason: :not_ready,
      since: since,
      evidence: %{probe: probe},
      text:
        "agent #{inspect(id)} is not found and gets no work of its pool, unless that panics, until #{by}; " <>
          "Kantoku.Health.configure/2 changes probes"
    }
  end

  # Its pool -----------------------------------------------------------------------------------------------------------------

  defp ejected(instance, {:pool, name, member} = id) when is_atom(name) and is_integer(member) do
    case Standing.ejection_of({instance, name}, member) do
      %{enforced: true} = ejection -> [out({instance, name}, id, ejection)]
      _in_or_observed -> []
    end
  end

  defp ejected(_instance, _no_worker), do: []

  defp out({_instance, name} = pool, {:pool, name, member} = id, %{cause: cause, left: left} = ejection) do
    until = if left == :infinity, do: "until it is readmitted", else: "for another #{left} ms"

    %Why{
      reason: :ejected,
      since: ejection.since,
      evidence: Map.merge(ejection.evidence, Map.take(ejection, [:cause, :left, :times])),
      lift: {Kantoku.Pool, :readmit, [pool, member]},
      text:
        "worker #{inspect(id)} is ejected #{until} (#{found(cause, ejection.evidence)}) and gets no work of pool #{inspect(name)}, " <>
          "unless that panics; Kantoku.Pool.readmit/2 lets it in"
    }
  end

  defp found(:consecutive_failures, %{failures: count}), do: "#{count} failures in a row"

  defp found(:success_rate, %{rate: rate, threshold: threshold}),
    do: "#{rate} % of its requests succeeded, and #{threshold} % is the least"

  defp found(:latency, %{mean_us: mean, median_us: median}),
    do: "its requests took #{mean} us, and the median worker's #{median} us"

  defp found(:by_hand, _nothing), do: "by hand"

  # Its health ---------------------------------------------------------------------------------------------------------------

  defp health(instance, id, row(phase: :up, pid: pid)) do
    case Health.status(instance, {:agent, id}) do
      {:ok, %{probes: probes, busy: busy}} ->
        ill = for %{verdict: :failing} = probe <- probes, do: failing(instance, id, probe)

        ill ++
          if(Enum.any?(ill, &(&1.reason == :stuck)),
            do: [],
            else: waiting(instance, id, pid) ++ busy(instance, id, busy)
          )

      _not_looked_after ->
        []
    end
  end

  defp health(_instance, _id, _not_up), do: []

  defp failing(instance, id, %{name: :passive, evidence: evidence, since: since}) do
    %Why{
      reason: :stuck,
      since: since,
      evidence: evidence || %{},
      lift: {Kantoku, :restart_agent, [instance, id]},
      text:
        "agent #{inspect(id)} is stuck: #{inspect(evidence)}; Kantoku.restart_agent/2 starts it again with its state"
    }
  end

  defp failing(instance, id, %{name: name, kind: kind, evidence: evidence, since: since}) do
    %Why{
      reason: :probe,
      since: since,
      evidence: %{probe: name, kind: kind, found: evidence},
      lift: if(kind != :custom, do: {Kantoku, :restart_agent, [instance, id]}),
      # What somebody's probe found may be their data: it is in the evidence, and a sentence goes anywhere.
      text: "agent #{inspect(id)} fails its #{kind} probe #{inspect(name)}: #{inspect(Redaction.kind(evidence))}"
    }
  end

  defp waiting(instance, id, pid) do
    case Board.reading(instance, &Waits.for_whom(Board.waits(&1), pid)) do
      other when is_pid(other) ->
        whom = with([name | _] <- Engine.keys(instance, other), do: name, else: (_no_agent -> other))

        [
          %Why{
            reason: :waiting,
            evidence: %{waits_for: whom},
            text: "agent #{inspect(id)} waits for an answer of #{inspect(whom)}; Kantoku.why/2 of that says why"
          }
        ]

      {:outside, until} ->
        [outside(id, until - System.monotonic_time(:millisecond))]

      _nobody ->
        []
    end
  end

  defp outside(id, left) do
    %Why{
      reason: :waiting,
      evidence: %{waits_for: :outside, left: left},
      text:
        "agent #{inspect(id)} waits for something outside, and said that this may take #{left} ms more (Kantoku.waiting/2)"
    }
  end

  # It serves; but not for long.
  defp at_risk(instance, book, id) do
    for {sign, %{in: left, value: value, limit: limit, since: since} = risk} <- Risks.of(book, id) do
      %Why{
        reason: :at_risk,
        since: ago(since),
        evidence: risk |> Map.delete(:since) |> Map.put(:sign, sign),
        lift: {Kantoku, :restart_agent, [instance, id]},
        text:
          "agent #{inspect(id)} serves, but #{grows(sign)} at #{round(value)} of #{limit}, and would be there in #{left} ms"
      }
    end
  end

  defp grows(:memory), do: "its memory (bytes) is"
  defp grows(:mailbox), do: "its mailbox (messages) is"
  defp grows({:latency, probe}), do: "the time to answer its probe #{inspect(probe)} (ms) is"
  defp grows(:restarts), do: "its crashes within the budget's window are"

  defp busy(_instance, _id, nil), do: []

  defp busy(instance, id, %{for: ms, over: over}) do
    limit = if over, do: "has #{max(-over, 0)} ms left", else: "has no limit (max_busy)"

    [
      %Why{
        reason: :busy,
        since: ms,
        evidence: %{busy_for: ms, over: over},
        lift: {Kantoku, :restart_agent, [instance, id]},
        text:
          "agent #{inspect(id)} is at one message for #{ms} ms and #{limit}; Kantoku.restart_agent/2 gives that message up"
      }
    ]
  end

  defp ago(nil), do: nil
  defp ago(at), do: System.monotonic_time(:millisecond) - at
end
