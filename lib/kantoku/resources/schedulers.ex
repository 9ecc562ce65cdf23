defmodule Kantoku.Resources.Schedulers do
  @moduledoc false
  # How busy schedulers are, while that is measured: between two looks of this process, a second apart. The VM counts who wants it measured, by
  # process, and takes back what one that died wanted: so nobody else's wish is touched, and nothing is left on.
  #
  # What a user said holds (`measure/1`); if nothing was, or `:auto`, it is measured while an instance wants something exported
  # (`Kantoku.Exporters.Members`). Who joins or leaves says so, and who was killed is missed within a second.
  use GenServer

  alias Kantoku.Exporters.Members

  @round 1_000
  @wish {__MODULE__, :wish}
  @busy {__MODULE__, :busy}

  @type wish :: boolean | :auto
  @type kind :: :normal | :dirty_cpu | :dirty_io

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @spec measure(wish) :: :ok
  def measure(wish), do: GenServer.call(__MODULE__, {:measure, wish})

  @doc "Has it look whether an instance wants something exported."
  @spec look() :: :ok
  def look, do: GenServer.cast(__MODULE__, :look)

  @doc "From 0 to 1, of the schedulers of a kind that are online, in the last second that was measured; `nil` while it is not."
  @spec utilization(kind) :: float | nil
  def utilization(kind \\ :normal) do
    case :ets.lookup(__MODULE__, @busy) do
      [{_key, busy}] -> busy[kind]
      [] -> nil
    end
  rescue
    # It is about to be started again.
    ArgumentError -> nil
  end

  # What was said to a predecessor that was killed holds.
  @impl true
  def init(nil) do
    :ets.new(__MODULE__, [:named_table, :protected])
    {:ok, look_later(reconcile(nil))}
  end

  @impl true
  def handle_call({:measure, wish}, _from, measured) do
    :persistent_term.put(@wish, wish)
    {:reply, :ok, reconcile(measured)}
  end

  @impl true
  def handle_cast(:look, measured), do: {:noreply, reconcile(measured)}

  @impl true
  def handle_info(:look, measured), do: {:noreply, look_later(reconcile(measured))}

  def handle_info({:timeout, timer, :read}, {timer, before}) do
    now = :erlang.statistics(:scheduler_wall_time_all)
    :ets.insert(__MODULE__, {@busy, Map.new(kinds(), fn {kind, ids} -> {kind, between(before, now, ids)} end)})
    {:noreply, read_later(now)}
  end

  def handle_info(_other, measured), do: {:noreply, measured}

  defp look_later(measured) do
    _timer = Process.send_after(self(), :look, @round)
    measured
  end

  defp reconcile(measured) do
    case {wanted?(:persistent_term.get(@wish, :auto)), measured} do
      {true, nil} -> begin()
      {false, {timer, _before}} -> stop(timer)
      _as_it_is -> measured
    end
  end

  defp wanted?(:auto), do: Members.living() != []
  defp wanted?(said), do: said

  defp begin do
    _before = :erlang.system_flag(:scheduler_wall_time, true)
    read_later(:erlang.statistics(:scheduler_wall_time_all))
  end

  defp stop(timer) do
    _left = :erlang.cancel_timer(timer)
    _on = :erlang.system_flag(:scheduler_wall_time, false)
    :ets.delete(__MODULE__, @busy)
    nil
  end

  defp read_later(sample), do: {:erlang.start_timer(@round, self(), :read), sample}

  # The VM numbers normal schedulers from 1, then dirty ones for processors, then those for input and output; the first of each kind are online.
  defp kinds do
    [normal, cpu, io] = Enum.map([:schedulers, :dirty_cpu_schedulers, :dirty_io_schedulers], &:erlang.system_info/1)

    cpu_online = :erlang.system_info(:dirty_cpu_schedulers_online)
    after_cpu = normal + cpu

    [
      normal: online(),
      dirty_cpu: (normal + 1)..(normal + cpu_online)//1,
      dirty_io: (after_cpu + 1)..(after_cpu + io)//1
    ]
  end

  defp online, do: 1..:erlang.system_info(:schedulers_online)//1

  @doc "From 0 to 1, how busy the normal schedulers were that are online, between two of `:erlang.statistics(:scheduler_wall_time)`."
  @spec between([tuple], [tuple]) :: float | nil
  def between(before, now), do: between(before, now, online())

  defp between(before, now, ids) do
    before = Map.new(before, fn {id, active, total} -> {id, {active, total}} end)

    shares =
      for {id, active, total} <- now,
          id in ids,
          {was, whole} = before[id],
          total > whole,
          do: {active - was, total - whole}

    {active, total} = Enum.reduce(shares, {0, 0}, fn {a, t}, {active, total} -> {active + a, total + t} end)
    if total > 0, do: active / total
  end
end
