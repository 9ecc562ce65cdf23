defmodule Bench.Lifecycle.Recover do
  @moduledoc false
  # One agent after another is killed: how long until it answers a call again. On our side the answer has to hold what
  # the agent knew before; on the peer's side it starts from nothing.

  alias Bench.{Callers, Comparison, Options, Side, Statistics}
  alias Bench.Lifecycle.{Fleet, Plain}

  @spec items(Options.t()) :: [Comparison.t(), ...]
  def items(options) do
    count = Options.size(options, 500, 100)

    [
      %Comparison{
        name: "recover",
        unit: "µs",
        better: :lower,
        ours: %Side{
          does:
            "#{count} data agents that remember every change, each killed once, one after another; until Kantoku.call/4 " <>
              "answers from the state before the kill",
          round: &round(:ours, &1, count)
        },
        theirs: %Side{
          does:
            "the same with GenServers under DynamicSupervisor and Registry; until GenServer.call/2 answers, its state lost",
          round: &round(:theirs, &1, count)
        }
      }
    ]
  end

  # New agents in each round, so that no agent has crashed before and is made to wait.
  defp round(side, stage, count) do
    ids = Enum.map(1..count, &{:recover, &1, make_ref()})
    Enum.each(ids, &start(side, stage, &1))
    times = Enum.map(ids, &recover(side, stage, &1))
    empty(side, stage, ids)
    [{"p50", Statistics.quantile(times, 0.5)}, {"p99", Statistics.quantile(times, 0.99)}]
  end

  defp start(:ours, %{fleet: fleet}, id), do: Fleet.start_data(fleet, id)
  defp start(:theirs, %{plain: plain}, id), do: Plain.start(plain, id)

  defp recover(side, stage, id) do
    {:ok, 1} = add(side, stage, id)
    pid = whereis(side, stage, id)
    started = Callers.now()
    Process.exit(pid, :kill)
    answer = await(side, stage, id)
    elapsed = (Callers.now() - started) / 1000
    unless answer == expected(side), do: raise("came back with #{answer}, expected #{expected(side)}")
    elapsed
  end

  defp expected(:ours), do: 2
  defp expected(:theirs), do: 1

  defp await(side, stage, id) do
    case add(side, stage, id) do
      {:ok, answer} ->
        answer

      {:error, _} ->
        :erlang.yield()
        await(side, stage, id)
    end
  end

  defp add(:ours, %{fleet: fleet}, id), do: Fleet.add(fleet, id)

  defp add(:theirs, %{plain: plain}, id) do
    {:ok, GenServer.call(Plain.name(plain, id), :add)}
  catch
    :exit, reason -> {:error, reason}
  end

  defp whereis(:ours, %{fleet: fleet}, id), do: Fleet.whereis(fleet, id)
  defp whereis(:theirs, %{plain: plain}, id), do: Plain.whereis(plain, id)

  defp empty(:ours, %{fleet: fleet}, ids), do: Fleet.empty(fleet, ids)
  defp empty(:theirs, %{plain: plain}, _ids), do: Plain.empty(plain)
end
