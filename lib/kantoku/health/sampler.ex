defmodule Kantoku.Health.Sampler do
  # Looks at agents that say nothing of themselves. There are several, as to look at a process that runs may take as long as that runs.
  # Two items of each; where it is only when it has stood still between two looks. Reports to who asked, only what is not well and what is
  # well again; judges by the limit that it is told.
  @moduledoc false
  use GenServer

  alias Kantoku.Agent.Loop

  # Reductions that a look at where a process is may cost it: one, and one more for each other who looks; to handle a message takes ten.
  @looks 4

  # `still` is a process that does nothing at all. What its reductions rise by is what the VM takes of everybody, as when code is purged,
  # and who looks at all processes.
  defstruct [:still, seen: %{}]

  @typedoc "A node, its process, and how long that may take for one message."
  @type look :: {node :: non_neg_integer, pid, limit :: pos_integer | nil}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil)

  @doc """
  Has a sampler look at agents. Answers the calling process by `{:sampled, [{node, pid, outcome, evidence}], lag}`: ms in which it
  did not come to it. What stands still in the middle of something for longer than `period` ms, without a limit, cannot be told.
  """
  @spec look(pid, [look], pos_integer) :: :ok
  def look(sampler, agents, period), do: GenServer.cast(sampler, {:look, self(), now(), period, agents})

  @doc "Forgets agents that are not there any more, or another process."
  @spec forget(pid, [non_neg_integer]) :: :ok
  def forget(sampler, nodes), do: GenServer.cast(sampler, {:forget, nodes})

  @impl true
  def init(_arg), do: {:ok, %__MODULE__{still: spawn_link(fn -> receive do: (:never -> :ok) end)}}

  @impl true
  def handle_cast({:look, from, sent, period, agents}, state) do
    lag = now() - sent
    {found, seen} = Enum.reduce(agents, {[], state.seen}, &look_at(&1, &2, period, state.still))
    send(from, {:sampled, found, lag})
    {:noreply, %{state | seen: seen}, :hibernate}
  end

  def handle_cast({:forget, nodes}, state), do: {:noreply, %{state | seen: Map.drop(state.seen, nodes)}, :hibernate}

  # What is kept of an agent: {pid, reductions, since when they are these, whether it was told as not well, what those of `still` were}.
  defp look_at({node, pid, limit}, {found, seen}, period, still) do
    case {Process.info(pid, [:status, :reductions]), seen} do
      {nil, _seen} ->
        {found, Map.delete(seen, node)}

      {[status: :waiting, reductions: same], %{^node => {^pid, same, :idle, _told, _others}}} ->
        {found, seen}

      {[status: status, reductions: reductions], _seen} ->
        judge(node, pid, {status, reductions, spent(still), limit, period}, found, seen)
    end
  end

  defp spent(still) do
    {:reductions, reductions} = Process.info(still, :reductions)
    reductions
  end

  defp judge(node, pid, {:waiting, reductions, others, limit, period}, found, seen) do
    case seen do
      %{^node => {^pid, before, since, told, taken}} when reductions - before <= others - taken + @looks ->
        since = if since == :idle, do: now(), else: since
        stands(node, pid, {reductions, since, told, others}, limit, period, found, seen)

      %{} ->
        moves(node, pid, reductions, others, found, seen)
    end
  end

  defp judge(node, pid, {_running, reductions, others, _limit, _period}, found, seen),
    do: moves(node, pid, reductions, others, found, seen)

  # It got on since the last look, so whatever it was is over.
  defp moves(node, pid, reductions, others, found, seen) do
    found =
      case seen do
        %{^node => {^pid, _reductions, _since, true, _others}} -> [{node, pid, :success, nil} | found]
        %{} -> found
      end

    {found, Map.put(seen, node, {pid, reductions, now(), false, others})}
  end

  # To be asked where it is costs a process reductions, so they are read again after that.
  defp stands(node, pid, {reductions, since, told, others}, limit, period, found, seen) do
    case where(pid, reductions) do
      {:idle, after_it} ->
        found = if told, do: [{node, pid, :success, nil} | found], else: found
        {found, Map.put(seen, node, {pid, after_it, :idle, false, others})}

      {:middle, after_it} ->
        middle(node, {pid, after_it, since, told, others}, {now() - since, limit, period}, found, seen)

      :moved ->
        moves(node, pid, reductions, others, found, seen)
    end
  end

  # The answer comes late on a busy machine. What was sent to the process until then it has begun with by now, and what it may be stuck in
  # is not to count as the rest that it was found at.
  defp where(pid, reductions) do
    with {:current_function, function} <- Process.info(pid, :current_function),
         [status: :waiting, reductions: after_it] when after_it - reductions <= @looks <-
           Process.info(pid, [:status, :reductions]) do
      {if(Loop.idle?(function), do: :idle, else: :middle), after_it}
    else
      _runs_or_is_dead -> :moved
    end
  end

  defp middle(node, {pid, reductions, since, told, others}, {stood, limit, period}, found, seen) do
    case outcome(stood, limit, period) do
      nil ->
        {found, Map.put(seen, node, {pid, reductions, since, told, others})}

      outcome ->
        found = [{node, pid, outcome, %{busy_for: stood, limit: limit, doing: :stands}} | found]
        {found, Map.put(seen, node, {pid, reductions, since, true, others})}
    end
  end

  defp outcome(stood, nil, period), do: if(stood > period, do: :unknown)
  defp outcome(stood, limit, _period), do: if(stood > limit, do: :failure)

  defp now, do: System.monotonic_time(:millisecond)
end
