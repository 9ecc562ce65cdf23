defmodule Kantoku.Pool.Foreman.Sizing do
  # How many workers a pool is to have by what it does now: those who wait, what its scaler says, who was idle, and what workers
  # use. Starts and stops nobody.
  @moduledoc false
  import Kantoku.Pool.Foreman.State, only: [emit: 2, now: 0, status: 1, workers: 1]

  alias Kantoku.Pool.Foreman.{Opening, Staffing, State}
  alias Kantoku.Pool.{Idle, Notes, Quota, Scaling, Size, Usage}

  @doc "With the size that a look at the pool gives."
  @spec look(State.t()) :: State.t()
  def look(state), do: state |> weigh() |> size(status(state)) |> scale(status(state)) |> dismiss_idle()

  defp size(state, %{queue: 0, free: free}) do
    size = Size.relaxed(state.size, state.config, free, now())
    if size.overflow == state.size.overflow, do: %{state | size: size}, else: %{state | size: size, cause: :linger}
  end

  defp size(state, _pressed), do: pressed(state)

  @doc "With the size that those who wait ask for."
  @spec pressed(State.t()) :: State.t()
  def pressed(state) do
    coming = Enum.count(Staffing.members(state), &(not &1.leaving and &1.phase in [:new, :recover, :starting]))
    size = Size.pressed(state.size, state.config, status(state).queue, coming, now())
    %{state | size: size, cause: :pressed}
  end

  defp scale(%{scaling: scaling, draining: false} = state, %{arrived: _} = counts) when scaling != nil do
    used = Usage.each(state.usage, now())
    {events, after_it} = Scaling.step(scaling, state.config, counts, Map.keys(state.pids), used)
    emit(state, events)

    if after_it.size == scaling.size,
      do: %{state | scaling: after_it},
      else: scaled(%{state | cause: :scaled}, after_it)
  end

  defp scale(state, _counts), do: state

  @doc "With what scales it, and the size that this decided last."
  @spec scaled(State.t(), Scaling.t() | nil) :: State.t()
  def scaled(%{size: size} = state, scaling),
    do: %{state | scaling: scaling, size: Size.scaled(size, scaling && scaling.size)}

  defp weigh(%{config: config, usage: usage} = state) do
    judge(%{state | usage: Usage.look(usage, Quota.used(config.quotas), Map.keys(state.pids), now())})
  end

  @doc "With what workers were seen to use."
  @spec weighed(State.t(), Usage.reading()) :: State.t()
  def weighed(%{config: config} = state, reading) do
    state = %{state | usage: Usage.seen(state.usage, reading, now())}
    Notes.put_used(state.book, state.pool, Usage.known(state.usage, Quota.used(config.quotas)))
    judge(state)
  end

  # The engine refuses what comes while workers use more than they may.
  defp judge(%{config: config, over_quota: told} = state) do
    if state.open and Usage.over(state.usage, Quota.used(config.quotas), now()) != told,
      do: state |> Opening.tell_engine() |> elem(1),
      else: state
  end

  defp dismiss_idle(%{config: %{idle_timeout: nil}} = state), do: state

  defp dismiss_idle(%{config: config, size: size} = state) do
    idle = Idle.look(state.idle, workers(state), now())
    count = idle |> Idle.since(config.idle_timeout, now()) |> length() |> min(Size.dispensable(size, config))
    state = %{state | idle: idle}
    if count > 0, do: %{state | size: Size.idled(size, config, count), cause: :idle}, else: state
  end
end
