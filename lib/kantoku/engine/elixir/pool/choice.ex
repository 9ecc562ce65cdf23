defmodule Kantoku.Engine.Elixir.Pool.Choice do
  # Which worker gets the next ticket. Looks only at those with a permit free; knows nothing of who waits. The strategies that draw
  # or compare all look at each of them.
  #
  #   * A route to a worker is followed under every strategy, if that has a permit free.
  #   * Of equals, least_loaded takes who was given nothing for longest, power_of_two and peak_ewma who was drawn first.
  #   * The two that are drawn are not the same one, where there are two.
  #   * Nobody's latency is below a nanosecond: of workers that nothing is known of, that with fewer ongoing is better.
  #   * hash without a hash is random.
  @moduledoc false

  import Bitwise
  alias Kantoku.Engine.Elixir.Pool.{Latency, SlowStart, Worker, Workers}

  @word 0xFFFF_FFFF_FFFF_FFFF

  @doc "The worker, and what choosing changed; `nil` if nobody has a permit free."
  @spec choose(Workers.t(), Kantoku.Engine.Elixir.Pool.Ticket.route(), integer) :: {pid | nil, Workers.t()}
  def choose(workers, route, now) do
    cond do
      not Workers.any_free?(workers) -> {nil, workers}
      routed?(workers, route) -> {elem(route, 1), workers}
      true -> workers.strategy |> by(workers, route, now) |> or_another(now) |> chosen()
    end
  end

  defp or_another({worker, workers}, now), do: SlowStart.or_another(workers, worker, now)

  defp chosen({worker, workers}), do: {worker.pid, %{workers | last: worker.member}}

  defp routed?(workers, {:worker, pid}), do: Workers.free_at?(workers, pid)
  defp routed?(_workers, _route), do: false

  defp by(:round_robin, workers, _route, _now), do: {Workers.following(workers, workers.last), workers}

  defp by(strategy, workers, _route, _now) when strategy in [:least_loaded, :lifo],
    do: {Workers.first(workers), workers}

  defp by(:power_of_two, workers, _route, _now), do: better_of_two(workers, &Worker.ongoing/1)

  defp by(:peak_ewma, workers, _route, now) do
    better_of_two(workers, &((Latency.expect(&1.latency, now, workers.decay) + 1) * (Worker.ongoing(&1) + 1)))
  end

  defp by(:hash, workers, {:hash, hash}, _now) do
    {workers |> Workers.free() |> Enum.max_by(&mix(hash, &1.member)), workers}
  end

  defp by(random, workers, _route, _now) when random in [:random, :hash] do
    free = Workers.free(workers)
    {index, workers} = draw(workers, length(free))
    {Enum.at(free, index), workers}
  end

  defp better_of_two(workers, cost) do
    free = workers |> Workers.free() |> List.to_tuple()
    {one, workers} = draw(workers, tuple_size(free))
    {two, workers} = draw_other(workers, tuple_size(free), one)
    {Enum.min_by([elem(free, one), elem(free, two)], cost), workers}
  end

  defp draw(workers, size) do
    {drawn, random} = :rand.uniform_s(size, workers.random)
    {drawn - 1, %{workers | random: random}}
  end

  defp draw_other(workers, 1, one), do: {one, workers}

  defp draw_other(workers, size, one) do
    {two, workers} = draw(workers, size - 1)
    {if(two >= one, do: two + 1, else: two), workers}
  end

  @doc "The rendezvous weight of a member for a hash: splitmix64's finish over both, in words of 64 bits."
  @spec mix(non_neg_integer, non_neg_integer) :: non_neg_integer
  def mix(hash, member) do
    mixed = hash * 0x9E3779B97F4A7C15 + (member + 1) * 0xD1B54A32D192ED03 &&& @word
    mixed = bxor(mixed, mixed >>> 30) * 0xBF58476D1CE4E5B9 &&& @word
    mixed = bxor(mixed, mixed >>> 27) * 0x94D049BB133111EB &&& @word
    bxor(mixed, mixed >>> 31)
  end
end
