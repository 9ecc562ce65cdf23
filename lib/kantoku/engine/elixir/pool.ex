defmodule Kantoku.Engine.Elixir.Pool do
  # The process of one pool: gives each request its time, does what the core says, and watches callers and workers. It ends with
  # its instance's keeper, and whoever waits then is told. Knows no rule of pools.
  @moduledoc false
  use GenServer, restart: :temporary

  alias Kantoku.Engine.Elixir.Pool.{Core, Report, Standing}
  alias Kantoku.Engine.Elixir.Tables

  # Tickets of a pool begin at one of 2^23 places of 2^36 each: a late one of a pool that is gone is none of its successor's.
  @pools 8_388_608
  @tickets 68_719_476_736

  @enforce_keys [:core, :keeper]
  defstruct @enforce_keys ++ [watched: %{}]

  @type arg :: {keeper :: pid, pool :: atom, foreman :: pid, Kantoku.Engine.Pools.config()}

  @spec start_link(arg) :: GenServer.on_start()
  def start_link(arg), do: GenServer.start_link(__MODULE__, arg, spawn_opt: [message_queue_data: :off_heap])

  # Traps exits so that an orderly end is told to who waits.
  @impl true
  def init({keeper, pool, foreman, config}) do
    Process.flag(:trap_exit, true)
    start = %{first: first(), random: :rand.seed_s(:exsss), alive?: &Tables.alive?/1}
    {:ok, %__MODULE__{core: Core.new(pool, foreman, config, start, now()), keeper: Process.monitor(keeper)}}
  end

  defp first, do: rem(System.unique_integer([:positive, :monotonic]), @pools) * @tickets

  @impl true
  def handle_call({:request, ticket}, {pid, _tag}, state) do
    if Tables.alive?(pid), do: reply(Core.request(state.core, ticket, now()), state), else: {:noreply, state}
  end

  def handle_call({:checkin, ticket, outcome}, {pid, _tag}, state) do
    reply(Core.checkin(state.core, pid, ticket, outcome, now()), state)
  end

  def handle_call({:reply, tag, reply}, {pid, _tag}, state),
    do: reply(Core.reply(state.core, pid, tag, reply, now()), state)

  def handle_call({:cancel, ticket}, {pid, _tag}, state), do: reply(Core.cancel(state.core, pid, ticket, now()), state)
  def handle_call({:room, tenant, cost}, _from, state), do: reply(Core.room(state.core, tenant, cost, now()), state)

  def handle_call({:lend, tag, terms}, {pid, _tag}, state) do
    if Tables.alive?(pid), do: reply(Core.lend(state.core, pid, tag, terms), state), else: {:noreply, state}
  end

  def handle_call({:deal, loan, dealing, count}, {pid, _tag}, state) do
    reply(Core.deal(state.core, pid, loan, dealing, count, now()), state)
  end

  def handle_call({:answered, ticket}, _from, state), do: reply(Core.answered(state.core, ticket, now()), state)
  def handle_call({:join, pid, member}, _from, state), do: reply(Core.join(state.core, pid, member, now()), state)
  def handle_call({:leave, pid}, _from, state), do: reply(Core.leave(state.core, pid, now()), state)
  def handle_call({:shut, pid}, _from, state), do: reply(Core.shut(state.core, pid, now()), state)
  def handle_call({:eject, member, ms}, _from, state), do: reply(Core.eject(state.core, member, ms, now()), state)
  def handle_call({:readmit, member}, _from, state), do: reply(Core.readmit(state.core, member, now()), state)
  def handle_call(:tick, _from, state), do: reply(Core.tick(state.core, now()), state)

  def handle_call({:configure, foreman, config}, _from, state) do
    reply(Core.configure(state.core, foreman, config, now()), state)
  end

  def handle_call(:status, _from, state), do: {:reply, Report.status(state.core), state}
  def handle_call(:measures, _from, state), do: {:reply, state.core.measures, state}
  def handle_call(:workers, _from, state), do: {:reply, Report.workers(state.core), state}
  def handle_call(:ejections, _from, state), do: {:reply, Standing.list(state.core, now()), state}
  def handle_call(:abandoned, _from, state), do: {:reply, Report.abandoned(state.core), state}

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{keeper: ref} = state), do: {:stop, :normal, state}

  def handle_info({:DOWN, _ref, :process, pid, _reason}, state) do
    {_ok, state} = done(Core.down(state.core, pid, now()), %{state | watched: Map.delete(state.watched, pid)})
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(_reason, state), do: done(Core.close(state.core), state)

  defp reply(done, state) do
    {answer, state} = done(done, state)
    {:reply, answer, state}
  end

  defp done({answer, effects, core}, state), do: {answer, Enum.reduce(effects, %{state | core: core}, &follow/2)}

  defp follow({:send, pid, message}, state) do
    Kernel.send(pid, message)
    state
  end

  # Once for the life of a process, whatever it is here.
  defp follow({:watch, pid}, state) when is_map_key(state.watched, pid), do: state
  defp follow({:watch, pid}, state), do: %{state | watched: Map.put(state.watched, pid, Process.monitor(pid))}

  defp now, do: System.monotonic_time(:nanosecond)
end
