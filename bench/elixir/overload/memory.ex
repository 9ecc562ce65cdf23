defmodule Bench.Overload.Memory do
  @moduledoc false
  # What the core and the VM hold while something goes on: looked at four times a second by a process of its own.

  @every 250

  @type t :: pid
  @typedoc "Medians in bytes, in the second quarter of the time, in its last, and once it was over."
  @type seen :: %{early: number, late: number, relieved: number}

  @spec watch(pos_integer) :: t
  def watch(millis), do: spawn_link(fn -> look(System.monotonic_time(:millisecond), millis, []) end)

  @spec seen(t) :: seen
  def seen(watch) do
    send(watch, {:seen, self()})

    receive do
      {^watch, seen} -> seen
    end
  end

  defp look(start, millis, samples) do
    receive do
      {:seen, asker} -> send(asker, {self(), summary(samples, millis)})
    after
      @every -> look(start, millis, [{System.monotonic_time(:millisecond) - start, bytes()} | samples])
    end
  end

  defp summary(samples, millis) do
    %{
      early: median(samples, millis / 4, millis / 2),
      late: median(samples, millis * 3 / 4, millis),
      relieved: median(samples, millis + 2_000, :infinity)
    }
  end

  defp median(samples, from, until),
    do: Bench.Statistics.median(for {at, bytes} <- samples, at >= from and at < until, do: bytes)

  @doc "The core's bytes and the VM's together."
  @spec bytes() :: non_neg_integer
  def bytes, do: Bench.Ours.native_bytes() + :erlang.memory(:total)
end
