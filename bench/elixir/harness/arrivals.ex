defmodule Bench.Arrivals do
  @moduledoc false
  # An open loop: requests begin at their times (a Poisson process), each a process of its own, whatever became of those before. They are linked to who
  # begins them: one that crashes takes the run with it, and the end of a flood that is killed ends all of it. Knows nothing of
  # what they do.

  alias Bench.{Callers, Schedulers}

  # Requests that are not over by then hang, in ms.
  @patience 60_000

  @typedoc "Is told when it was meant to begin, in ns of monotonic time."
  @type request :: (meant :: integer -> term)

  @doc "Begins `rate` requests a second for `millis` ms, and answers how many, when the last is over."
  @spec run(number, pos_integer, request) :: non_neg_integer
  def run(rate, millis, request) do
    ended = :counters.new(1, [:atomics])
    count = begin(rate, millis, ended, request)
    settle(ended, count, Callers.now() + @patience * 1_000_000)
    count
  end

  @doc "Begins as `run/3` does, and does not wait for the last."
  @spec begin(number, pos_integer, request) :: non_neg_integer
  def begin(rate, millis, request), do: begin(rate, millis, :counters.new(1, [:atomics]), request)

  # Punctual beside whatever the requests do; always at the same times, so that two runs are alike.
  defp begin(rate, millis, ended, request) do
    priority = Process.flag(:priority, :high)
    count = round(rate * millis / 1_000)
    go_on({Callers.now(), :rand.seed_s(:exsss, 1)}, 1.0e9 / rate, count, ended, request)
    Process.flag(:priority, priority)
    count
  end

  @doc "The share (0 to 1) of all schedulers' time that it takes to begin so many requests, if they do nothing."
  @spec cost(number, pos_integer) :: float
  def cost(rate, millis) do
    {_count, share} = Schedulers.busy(fn -> run(rate, millis, fn _meant -> :ok end) end)
    share
  end

  defp go_on(_next, _gap, 0, _ended, _request), do: :ok

  defp go_on({meant, random}, gap, left, ended, request) do
    if meant > Callers.now(), do: wait_until(meant)
    spawn_request(meant, ended, request)
    go_on(next(meant, random, gap), gap, left - 1, ended, request)
  end

  # Gaps as of who know nothing of each other: evenly spaced requests would fall into step with the clock's ticks.
  defp next(meant, random, gap) do
    {uniform, random} = :rand.uniform_real_s(random)
    {meant - round(:math.log(uniform) * gap), random}
  end

  # By an absolute time, which ends with the first tick of the clock (1 ms) after it; one from now on would take a tick more.
  defp wait_until(meant) do
    timer = :erlang.start_timer(Integer.floor_div(meant + 999_999, 1_000_000), self(), :go, abs: true)

    receive do
      {:timeout, ^timer, :go} -> :ok
    end
  end

  defp spawn_request(meant, ended, request) do
    spawn_link(fn ->
      request.(meant)
      :counters.add(ended, 1, 1)
    end)
  end

  defp settle(ended, count, deadline) do
    cond do
      :counters.get(ended, 1) == count ->
        :ok

      Callers.now() > deadline ->
        raise "#{count - :counters.get(ended, 1)} of #{count} requests did not end"

      true ->
        Process.sleep(5)
        settle(ended, count, deadline)
    end
  end
end
