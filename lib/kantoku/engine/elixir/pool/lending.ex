defmodule Kantoku.Engine.Elixir.Pool.Lending do
  # How much room there is for who sends, and who is granted credits when there is some. Room is what can be added without being
  # refused and without making others wait: permits that are free, and as many places of a tenant's share of the queue as workers
  # clear within `queue_target`.
  #
  #   L1. Nothing is granted beyond the room of its tenant at that moment.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Credits, Mean, Quota, State, Waiting, Worker, Workers}

  # So many of those who wish are looked at after a change, and at a tick.
  @after_a_change 16
  @at_a_tick 256

  @doc "How many requests of a cost a tenant may send now. Credits that are held count as sent."
  @spec room(State.t(), Kantoku.Engine.Pools.tenant(), pos_integer, integer) :: non_neg_integer
  def room(state, tenant, cost, now) do
    if state.config.draining or state.config.over_quota or State.overloaded?(state),
      do: 0,
      else: left(state, tenant, cost, now)
  end

  defp left(state, tenant, cost, now) do
    {free, depth} = {free(state), depth(state)}
    {own, all} = {Credits.held_of(state.credits, tenant), state.credits.held}
    {waiting, weight, weights} = Waiting.standing(state.waiting, tenant, state.weights)
    of_tenant = max(free - (all - own), 0) + max(div(depth * weight, weights) - waiting, 0) - own
    quota = Quota.passes(state.quota, tenant, cost, now, {own, all})
    of_tenant |> min(free + depth - all) |> min(quota) |> max(0)
  end

  defp ready(state) do
    for %{state: :ready} = worker <- Workers.all(state.workers), not Workers.barred?(state.workers, worker), do: worker
  end

  defp free(state) do
    ready = ready(state)
    max(length(ready) * state.config.max_ongoing - Enum.sum(Enum.map(ready, &Worker.ongoing/1)), 0)
  end

  # How many may wait so that they wait no longer than they are to. While nothing was served yet, one more for each permit.
  defp depth(state), do: min(cleared(length(ready(state)) * state.config.max_ongoing, state), state.config.max_queue)

  defp cleared(0, _state), do: 0
  defp cleared(_permits, %{config: %{codel: false, max_queue: max_queue}}), do: max_queue

  defp cleared(permits, %{config: %{queue_target: target}} = state) do
    case Mean.read(state.hold, 1) do
      0 -> permits
      hold -> div(permits * target * 1_000_000, hold)
    end
  end

  @doc "There may be room: whoever wishes gets of it in turn, first a part each, then what others left."
  @spec run(State.t(), integer, :change | :tick) :: State.t()
  def run(state, now, why \\ :change) do
    case {Credits.wishing(state.credits), why} do
      {0, :change} -> state
      {wishing, :change} -> lend(state, min(wishing, @after_a_change), now)
      {wishing, :tick} -> lend(state, min(wishing, @at_a_tick), now)
    end
  end

  defp lend(state, looked_at, now) do
    case state |> lapse(now) |> in_turn(Enum.to_list(looked_at..1//-1), now) do
      {false, passed, state} ->
        # There may be room for others, so the next time they are looked at.
        Enum.reduce(passed, state, &line_up(&2, &1))

      {true, passed, state} ->
        {_granted, passed, state} = state |> put_back(passed) |> in_turn(List.duplicate(1, looked_at), now)
        put_back(state, passed)
    end
  end

  # Who is granted any goes to the end of the line; whether someone was, and for whom there was no room.
  defp in_turn(state, sharers, now) do
    {granted, passed, state} = Enum.reduce(sharers, {false, [], state}, &next(&2, &1, now))
    {granted, Enum.reverse(passed), state}
  end

  defp next({granted, passed, state}, sharers, now) do
    if Credits.wishing(state.credits) == 0,
      do: {granted, passed, state},
      else: next_one({granted, passed, state}, sharers, now)
  end

  defp next_one({granted, passed, state}, sharers, now) do
    {name, credits} = Credits.turn(state.credits)
    loan = Credits.fetch(credits, name)

    case grant(%{state | credits: credits}, name, sharers, now) do
      {0, state} -> {granted, [name | passed], state}
      {count, state} -> {true, passed, state |> tell(loan, {:credits, count}) |> line_up(name)}
    end
  end

  defp tell(state, loan, what), do: State.effect(state, {:send, loan.owner, {:kantoku_pool, loan.tag, what}})
  defp lapse(state, now), do: %{state | credits: Credits.lapse(state.credits, now)}
  defp line_up(state, name), do: %{state | credits: Credits.line_up(state.credits, name)}
  defp put_back(state, names), do: %{state | credits: Credits.put_back(state.credits, names)}

  defp grant(state, name, sharers, now) do
    loan = Credits.fetch(state.credits, name)
    count = min(div(room(state, loan.tenant, loan.cost, now) + sharers - 1, sharers), loan.wished)
    if count > 0, do: {count, %{state | credits: Credits.grant(state.credits, name, count, now)}}, else: {0, state}
  end

  @doc "A loan without any credits yet."
  @spec open(State.t(), pid, term, {Kantoku.Engine.Pools.tenant(), pos_integer, pos_integer}) ::
          {{:ok, Credits.name()}, State.t()}
  def open(state, owner, tag, {tenant, cost, ttl}) do
    {name, credits} = Credits.open(state.credits, owner, tag, tenant, cost, ttl * 1_000_000)
    {{:ok, name}, State.effect(%{state | credits: credits}, {:watch, owner})}
  end

  @doc "What its owner does with a loan; whoever sends may take of it."
  @spec deal(State.t(), pid, Credits.name(), Kantoku.Engine.Pools.dealing(), non_neg_integer, integer) ::
          {non_neg_integer | :gone | {:error, :foreign}, State.t()}
  def deal(state, owner, name, dealing, count, now) do
    case Credits.fetch(state.credits, name) do
      nil -> {:gone, state}
      %{owner: whose} when whose == owner or dealing == :take -> state |> lapse(now) |> dealt(name, dealing, count, now)
      _of_another -> {{:error, :foreign}, state}
    end
  end

  # Behind those who wished before.
  defp dealt(state, name, :ask, count, now) do
    state = run(state, now)
    {granted, state} = last(%{state | credits: Credits.wish(state.credits, name, count)}, name, now)
    # As of a request that has to wait.
    {granted, if(Credits.wishing(state.credits) > 0, do: State.press(state), else: state)}
  end

  # What is sent takes the room that was kept for it.
  defp dealt(state, name, :take, count, _now) do
    {taken, credits} = Credits.finish(state.credits, name, count, :taken)
    {taken, %{state | credits: credits}}
  end

  defp dealt(state, name, :give_back, count, now),
    do: returned(Credits.finish(state.credits, name, count, :returned), state, now)

  defp dealt(state, name, :close, _count, now), do: returned(Credits.close(state.credits, name), state, now)

  defp returned({count, credits}, state, now), do: {count, run(%{state | credits: credits}, now)}

  defp last(state, name, now) do
    case Credits.step_out(state.credits, name) do
      nil ->
        {0, state}

      credits ->
        {granted, state} = grant(%{state | credits: credits}, name, 1, now)
        {granted, line_up(state, name)}
    end
  end

  @doc "Tells whoever wishes that there will be none, as the pool ends."
  @spec close(State.t()) :: State.t()
  def close(state) do
    for {_name, %{wished: wished} = loan} when wished > 0 <- state.credits.loans,
        reduce: state,
        do: (state -> tell(state, loan, {:refused, :closed, 0}))
  end
end
