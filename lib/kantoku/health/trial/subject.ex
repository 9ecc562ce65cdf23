defmodule Kantoku.Health.Trial.Subject do
  # An agent of a trial: does what it is told to, well or not. When it begins with a message it notes that for the one who knows what it was
  # told (`Stage`); health sees none of it.
  #
  # Work is simulated by short bursts of reductions with pauses between them, as a thousand agents that really compute would leave the machine
  # no time for anything else. So to look at from outside, one that works and one that loops do the same.
  @moduledoc false
  use Kantoku.Agent

  # Some 20 us.
  @burst 5_000

  @impl true
  def new(%{world: world, id: id}), do: %{world: world, id: id, kept: []}

  @impl true
  def cmd(agent, {:work, ms}) do
    begun(agent)
    work(ms)
    {agent, []}
  end

  # One message after the other, for ever; of every other, what it holds meanwhile is `bytes` large.
  def cmd(agent, {:busy, ms, bytes}) do
    begun(agent)
    held = if bytes > 0, do: filled(bytes), else: []
    work(ms)
    _needed_until_now = length(held)
    GenServer.cast(self(), {:busy, ms, -bytes})
    {agent, []}
  end

  def cmd(agent, {:wait, declared, waited}) do
    begun(agent)
    Kantoku.waiting(declared, fn -> pause(waited) end)
    GenServer.cast(self(), {:wait, declared, waited})
    {agent, []}
  end

  def cmd(agent, :loop) do
    begun(agent)
    loop()
    {agent, []}
  end

  # Without a pause. The others are to have their time, too.
  def cmd(agent, :spin) do
    Process.flag(:priority, :low)
    begun(agent)
    spin()
    {agent, []}
  end

  def cmd(agent, :stand) do
    begun(agent)
    receive do: (:"$kantoku_trial_never" -> {agent, []})
  end

  # Both are at it before either asks the other.
  def cmd(agent, {:cross, instance, other}) do
    begun(agent)
    meet(agent, other)
    :ets.insert(agent.world, {{:beyond, agent.id}, now()})
    _answer_or_error = Kantoku.call(instance, other, :nothing, :infinity)
    {agent, []}
  end

  def cmd(agent, {:keep, bytes}), do: {%{agent | kept: [filled(bytes) | agent.kept]}, []}
  def cmd(agent, :nothing), do: {agent, []}

  defp begun(%{world: world, id: id}), do: :ets.insert(world, {{:begun, id}, now()})

  defp meet(%{world: world} = agent, other) do
    unless :ets.member(world, {:begun, other}) do
      pause(10)
      meet(agent, other)
    end
  end

  # Two words each.
  defp filled(bytes), do: Enum.to_list(1..max(div(bytes, 16), 1))

  defp work(ms), do: work_until(now() + ms)

  defp work_until(until) do
    count(@burst)
    left = until - now()
    pause(min(max(left, 0), 150 + :rand.uniform(100)))
    if left > 250, do: work_until(until)
  end

  defp loop do
    count(@burst)
    pause(60 + :rand.uniform(60))
    loop()
  end

  defp spin do
    count(@burst)
    spin()
  end

  defp count(0), do: :ok
  defp count(more), do: count(more - 1)

  # What else comes waits.
  defp pause(ms) do
    receive do
      :"$kantoku_trial_never" -> :ok
    after
      round(ms) -> :ok
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  @doc "The probe that all agents are asked: takes as long as the world says of that agent."
  @spec answer(pid, atom, :ets.tid()) :: :ok
  def answer(pid, instance, world) do
    with [id | _] <- Kantoku.Registry.keys(instance, pid),
         [{_key, ms}] <- :ets.lookup(world, {:answer, id}),
         do: Process.sleep(ms)

    :ok
  end
end
