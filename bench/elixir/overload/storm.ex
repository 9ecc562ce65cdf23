defmodule Bench.Overload.Storm do
  @moduledoc false
  # Ten times as many requests as a pool can serve, for a while, and then half as many as it can; an open loop all the time. Holders
  # sleep, so that it is the pool that is short and not the machine. The pool's limits are its defaults.

  alias Bench.{Arrivals, Options, Schedulers}
  alias Bench.Overload.{Memory, Tally}
  alias Bench.Pool.{ClosedLoop, Rig}

  @size 16
  @hold 10
  @times 10
  @relief 5_000
  # As the pool's own defaults are: `:queue_target` and two of `:queue_interval`, in ms.
  @target 50
  @settled 2_000

  @enforce_keys [:capacity, :tally, :millis, :begun, :busy, :generator, :memory]
  defstruct @enforce_keys

  @type t :: %__MODULE__{}

  @spec size() :: pos_integer
  def size, do: @size
  @spec hold() :: pos_integer
  def hold, do: @hold
  @spec times() :: pos_integer
  def times, do: @times
  @spec target() :: pos_integer
  def target, do: @target

  @doc "The first two intervals; the rest of the overload; what comes after it; in ms from the overload's start."
  @spec stretches(pos_integer) :: %{onset: Tally.stretch(), overload: Tally.stretch(), relief: Tally.stretch()}
  def stretches(millis), do: %{onset: {0, @settled}, overload: {@settled, millis}, relief: {millis, millis + @relief}}

  @spec run(Options.t()) :: t
  def run(options) do
    {name, instance} = Rig.ours(@size, options, [])
    storm = on({name, :workers}, Options.size(options, 60_000, 8_000))
    Supervisor.stop(instance)
    storm
  end

  defp on(pool, millis) do
    [{"throughput", capacity} | _] = ClosedLoop.run(4 * @size, 3_000, fn -> {:ok, _} = hold(pool, fn -> :ok end) end)
    generator = Arrivals.cost(@times * capacity, 2_000)
    tally = Tally.new(millis + @relief + 1_000, @target, Map.values(stretches(millis)))
    memory = Memory.watch(millis)
    {begun, busy} = Schedulers.busy(fn -> Arrivals.begin(@times * capacity, millis, &request(pool, tally, &1)) end)
    Arrivals.run(capacity / 2, @relief, &request(pool, tally, &1))

    %__MODULE__{
      capacity: capacity,
      tally: tally,
      millis: millis,
      begun: begun,
      busy: busy,
      generator: generator,
      memory: Memory.seen(memory)
    }
  end

  defp request(pool, tally, meant) do
    case hold(pool, fn -> Tally.waited(tally, meant) end) do
      {:ok, _} -> Tally.served(tally)
      {:error, %Kantoku.Error{reason: reason}} -> Tally.refused(tally, reason)
    end
  end

  defp hold(pool, note) do
    Kantoku.Pool.run(pool, fn _worker ->
      note.()
      Process.sleep(@hold)
    end)
  end
end
