defmodule Kantoku.Resources.Schedulers do
  @moduledoc false
  # How busy schedulers are, while that is measured: between two looks of this process, a second apart. The VM counts who wants it measured, by
  # process, and takes back what one that died wanted: so nobody else's wish is touched, and nothing is left on.
  use GenServer

  @round 1_000
  @wanted {__MODULE__, :wanted}
  @busy {__MODULE__, :busy}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec measure(boolean) :: :ok
  def measure(on?), do: GenServer.call(__MODULE__, {:measure, on?})

  @doc "From 0 to 1, of the schedulers that are online, in the last second that was measured; `nil` while it is not."
  @spec utilization() :: float | nil
  def utilization do
    case :ets.lookup(__MODULE__, @busy) do
      [{_key, busy}] -> busy
      [] -> nil
    end
  rescue
    # It is about to be started again.
    ArgumentError -> nil
  end

  # What was asked of a predecessor that was killed holds.
  @impl true
  def init(nil) do
    :ets.new(__MODULE__, [:named_table, :protected])
    {:ok, if(:persistent_term.get(@wanted, false), do: begin())}
  end

  @impl true
  def handle_call({:measure, true}, _from, nil) do
    :persistent_term.put(@wanted, true)
    {:reply, :ok, begin()}
  end

  def handle_call({:measure, false}, _from, before) when before != nil do
    :persistent_term.erase(@wanted)
    _on = :erlang.system_flag(:scheduler_wall_time, false)
    :ets.delete(__MODULE__, @busy)
    {:reply, :ok, nil}
  end

  def handle_call({:measure, _as_it_is}, _from, state), do: {:reply, :ok, state}

  @impl true
  def handle_info({:timeout, timer, :look}, {timer, before}) do
    now = :erlang.statistics(:scheduler_wall_time)
    :ets.insert(__MODULE__, {@busy, between(before, now)})
    {:noreply, go_on(now)}
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp begin do
    _before = :erlang.system_flag(:scheduler_wall_time, true)
    go_on(:erlang.statistics(:scheduler_wall_time))
  end

  defp go_on(sample) do
    {:erlang.start_timer(@round, self(), :look), sample}
  end

  @doc "From 0 to 1, how busy the schedulers were that are online, between two of `:erlang.statistics(:scheduler_wall_time)`."
  @spec between([tuple], [tuple]) :: float | nil
  def between(before, now) do
    online = :erlang.system_info(:schedulers_online)
    before = Map.new(before, fn {id, active, total} -> {id, {active, total}} end)

    shares =
      for {id, active, total} <- now,
          id <= online,
          {was, whole} = before[id],
          total > whole,
          do: {active - was, total - whole}

    {active, total} = Enum.reduce(shares, {0, 0}, fn {a, t}, {active, total} -> {active + a, total + t} end)
    if total > 0, do: active / total
  end
end
