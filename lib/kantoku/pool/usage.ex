defmodule Kantoku.Pool.Usage do
  # What a pool's workers use together, of memory and of the schedulers' time, for quotas of that. To ask a process that runs may mean to
  # wait for it, so a process of its own asks, and says `{:usage, reading}`. Knows no engine.
  @moduledoc false

  alias Kantoku.Pool.Quota
  alias Kantoku.Pool.Usage.CPU

  # As many workers as are asked anew; the rest is taken to be like them.
  @asked 64

  # Ms from one look to the next, and for how long a look counts.
  @rhythm 500
  @fresh 5_000

  defstruct looker: nil, at: nil, workers: 0, memory: nil, cpu: nil, mark: nil, timed: false

  @typedoc """
  `memory` in bytes and `cpu` in percent of the schedulers' time, of so many `workers`, as seen `at` (monotonic ms); `mark` is what the
  next look is compared with; `timed`: whether the VM was asked to time its schedulers.
  """
  @type t :: %__MODULE__{
          looker: pid | nil,
          at: integer | nil,
          workers: non_neg_integer,
          memory: number | nil,
          cpu: float | nil,
          mark: CPU.mark() | nil,
          timed: boolean
        }

  @type reading :: %{workers: non_neg_integer, memory: number | nil, cpu: float | nil, mark: CPU.mark() | nil}

  @doc "Ms from one look to the next."
  @spec rhythm() :: pos_integer
  def rhythm, do: @rhythm

  @doc "Has the workers looked at, if that is due. To be called by the process that is told, as the VM times schedulers for it."
  @spec look(t, Quota.used(), [pid], now :: integer) :: t
  def look(usage, limits, workers, now) do
    usage = timed(usage, limits.cpu != nil)

    cond do
      limits == %{memory: nil, cpu: nil} -> %__MODULE__{}
      due?(usage, now) -> %{usage | looker: ask(workers, usage.mark)}
      true -> usage
    end
  end

  # The VM counts the processes that want it, and forgets those that died.
  defp timed(%{timed: same} = usage, same), do: usage

  defp timed(usage, wanted?) do
    :erlang.system_flag(:scheduler_wall_time, wanted?)
    %{usage | timed: wanted?, cpu: nil, mark: nil}
  end

  defp due?(%{looker: looker, at: at}, now),
    do: (at == nil or now - at >= @rhythm) and not (is_pid(looker) and Process.alive?(looker))

  defp ask(workers, mark) do
    teller = self()
    spawn_link(fn -> send(teller, {:usage, read(workers, mark)}) end)
  end

  @doc "What workers use, compared with the `mark` of a look before. May wait for a worker."
  @spec read([pid], CPU.mark() | nil) :: reading
  def read(workers, mark) do
    anew = Enum.take_random(workers, @asked)
    seen = for pid <- anew, [memory: bytes, reductions: done] <- [ask_one(pid)], do: {pid, bytes, done}
    now = CPU.mark(for {pid, _bytes, done} <- seen, do: {pid, done})
    %{workers: length(workers), memory: in_all(seen, length(workers)), cpu: CPU.share(mark, workers), mark: now}
  end

  defp ask_one(pid), do: Process.info(pid, [:memory, :reductions])

  defp in_all([], _workers), do: 0
  defp in_all(seen, workers), do: Enum.sum(for {_pid, bytes, _done} <- seen, do: bytes) / length(seen) * workers

  @doc "With what was seen."
  @spec seen(t, reading, now :: integer) :: t
  def seen(usage, reading, now), do: Map.merge(%{usage | looker: nil, at: now}, reading)

  @typedoc "Of what there are limits."
  @type resource :: :memory | :cpu

  @doc """
  Of what more is used than may be, as far as is known: what was seen long ago holds nobody back, as a worker that never answers whoever
  looks would for ever.
  """
  @spec over(t, Quota.used(), now :: integer) :: [resource]
  def over(%{at: at} = usage, limits, now) when is_integer(at) and now - at <= @fresh,
    do: for(resource <- [:memory, :cpu], over_limit?(Map.fetch!(usage, resource), limits[resource]), do: resource)

  def over(_usage, _limits, _now), do: []

  defp over_limit?(used, limit), do: used != nil and limit != nil and used > limit

  @doc "What is used of what there are limits for: bytes, and percent of the schedulers' time."
  @spec known(t, Quota.used()) :: %{memory: non_neg_integer | nil, cpu: float | nil}
  def known(%{memory: memory, cpu: cpu}, limits),
    do: %{memory: if(limits.memory && memory, do: round(memory)), cpu: if(limits.cpu && cpu, do: Float.round(cpu, 1))}

  @doc "What one worker uses; `nil` of what is not known, or was long ago."
  @spec each(t, now :: integer) :: %{memory: number | nil, cpu: number | nil}
  def each(%{at: at, workers: workers} = usage, now) when is_integer(at) and now - at <= @fresh and workers > 0,
    do: %{memory: part(usage.memory, workers), cpu: part(usage.cpu, workers)}

  def each(_usage, _now), do: %{memory: nil, cpu: nil}

  defp part(nil, _workers), do: nil
  defp part(used, workers), do: used / workers
end
