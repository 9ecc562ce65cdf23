defmodule Kantoku.Pool.Memory do
  # What a pool's workers use together, for a quota of that. To ask a process that runs may mean to wait for it, so a process of its own
  # asks, and says `{:memory, reading}`. Knows no engine.
  @moduledoc false

  # As many workers as are asked; the rest is taken to be like them.
  @asked 64

  # Ms from one look to the next, and for how long a look counts.
  @rhythm 500
  @fresh 5_000

  defstruct looker: nil, at: nil, used: nil, each: nil

  @typedoc "`used` and `each` in bytes, as seen `at` (monotonic ms)."
  @type t :: %__MODULE__{
          looker: pid | nil,
          at: integer | nil,
          used: number | nil,
          each: number | nil
        }

  @doc "Has the workers looked at, if that is due."
  @spec look(t, limit :: pos_integer | nil, [pid], now :: integer) :: t
  def look(_memory, nil, _workers, _now), do: %__MODULE__{}

  def look(memory, _limit, workers, now) do
    if due?(memory, now), do: %{memory | looker: asked(workers)}, else: memory
  end

  defp due?(%{looker: looker, at: at}, now),
    do: (at == nil or now - at >= @rhythm) and not (is_pid(looker) and Process.alive?(looker))

  defp asked(workers) do
    manager = self()
    spawn_link(fn -> send(manager, {:memory, read(workers)}) end)
  end

  @doc "What so many workers use: `{used, each}`, in bytes. May wait for a worker."
  @spec read([pid]) :: {number, number | nil}
  def read(workers) do
    case for pid <- Enum.take_random(workers, @asked), {:memory, bytes} <- [Process.info(pid, :memory)], do: bytes do
      [] -> {0, nil}
      found -> {Enum.sum(found) / length(found) * length(workers), Enum.sum(found) / length(found)}
    end
  end

  @doc "With what was seen."
  @spec seen(t, {number, number | nil}, now :: integer) :: t
  def seen(memory, {used, each}, now), do: %{memory | looker: nil, at: now, used: used, each: each}

  @doc "Whether more is used than may be, as far as is known."
  @spec over?(t, limit :: pos_integer | nil) :: boolean
  def over?(_memory, nil), do: false
  def over?(%{used: nil}, _limit), do: false
  def over?(%{used: used}, limit), do: used > limit

  @doc "What one worker uses; `nil` if that is not known, or was long ago."
  @spec each(t, now :: integer) :: number | nil
  def each(%{at: at, each: each}, now) when is_integer(at) and now - at <= @fresh, do: each
  def each(_memory, _now), do: nil
end
