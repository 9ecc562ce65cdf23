defmodule Kantoku.Engine.Elixir.Pool.SlowStart do
  # A worker that comes back gets a part of its share at first, which grows until it has all of it: Envoy's formula with an aggression
  # of 1.0, `max(time since it came / window, least)`. Whom a strategy takes is passed over with the rest of the chance, and its next
  # one stands in; under `hash` nobody is, as keys would move twice. Where no other is free nobody is passed over.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Worker, Workers}

  # So many are passed over for one request.
  @passed_over 8

  @doc "The part of its share that a worker gets, up to 1."
  @spec part(Workers.t(), Worker.t(), integer) :: float
  def part(%{slow_start: nil}, _worker, _now), do: 1.0
  def part(_workers, %{grows: nil}, _now), do: 1.0

  def part(%{slow_start: rule}, %{grows: since}, now) do
    grown = max(now - since, 0) / (rule.slow_start_window * 1_000_000)
    grown |> max(rule.min_weight_percent / 100.0) |> min(1.0)
  end

  @doc "The worker to take where the strategy would take `first`, of those that have a permit free."
  @spec or_another(Workers.t(), Worker.t(), integer) :: {Worker.t(), Workers.t()}
  def or_another(%{growing: 0} = workers, first, _now), do: {first, workers}
  def or_another(%{strategy: :hash} = workers, first, _now), do: {first, workers}
  def or_another(workers, first, now), do: pass(workers, first, now, @passed_over)

  defp pass(workers, worker, _now, 0), do: {worker, workers}

  defp pass(workers, worker, now, left) do
    part = part(workers, worker, now)
    {drawn, random} = :rand.uniform_s(workers.random)
    workers = %{workers | random: random}

    with true <- part < 1.0 and drawn >= part, other when other != nil <- next(workers, worker) do
      pass(Workers.passed_over(workers, worker.pid), other, now, left - 1)
    else
      _taken -> {worker, workers}
    end
  end

  # Whom the strategy would take if this one were not there; of several, some other.
  defp next(%{strategy: :round_robin} = workers, %{pid: pid, member: member}),
    do: not_same(Workers.following(workers, member), pid)

  defp next(%{strategy: strategy} = workers, %{pid: pid}) when strategy in [:least_loaded, :lifo],
    do: workers |> Workers.free() |> after_it(strategy, pid)

  defp next(workers, %{pid: pid}) do
    case Enum.reject(Workers.free(workers), &(&1.pid == pid)) do
      [] -> nil
      others -> Enum.random(others)
    end
  end

  defp after_it(free, :least_loaded, pid), do: Enum.find(free, &(&1.pid != pid))
  defp after_it(free, :lifo, pid), do: free |> Enum.drop_while(&(&1.pid != pid)) |> Enum.at(1)

  defp not_same(%{pid: pid}, pid), do: nil
  defp not_same(other, _pid), do: other
end
