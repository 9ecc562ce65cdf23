defmodule Kantoku.Agent.Server do
  @moduledoc """
  Holds an agent in a process: runs its commands, keeps its snapshots, delivers its directives.

  An instance starts it; it registers no name itself. `GenServer.call(pid, action)` runs `cmd/2` and answers with the term of the directive
  `{:reply, term}`, or `:ok`; `GenServer.cast(pid, action)` runs it without an answer.

  ## Life

  `init/1` returns at once; the state is restored after it, before the first message is served: from the newest snapshot if there is one
  (and `restore` is true), else by `new/1`. Undelivered directives of the snapshot go out again under their ids. A snapshot that
  cannot be read is set aside or parks the agent (`:on_damaged`); a store that does not answer crashes it, so that its restart policy tries
  again: starting afresh would forget what is only out of reach for a moment.

  Each change makes a *revision*: the state and its undelivered directives, written together. A command that returns the
  same agent and no directives is no change.

  ## What a crash costs

  With the default `snapshot: :every_change` nothing that was answered (with `durability: :sync`, nothing that was answered even if the
  machine fails). A directive is delivered when its revision is kept and until its delivery is kept: a crash between the two repeats it, under
  the same id. When a handler fails, the directive is tried again and the agent goes on serving; after the last attempt the agent is
  parked, or the directive dropped (`:on_undeliverable`).

  With `:sync`, calls are answered in the order of their revisions when these are committed; the server goes on serving meanwhile, and all
  that changed during one write goes out in the next. A call whose revision could not be written is answered
  `{:error, {:not_durable, reason}}`: the change is made, and the write is tried again.

  A process that finds its store written to by a successor stops with `{:shutdown, :superseded}`; a call that it was serving
  is not answered, or with `:sync` answered `{:error, {:not_durable, :stale}}`.

  See `Kantoku.Agent.Options` for all options.
  """
  use GenServer

  alias Kantoku.Agent.{Asleep, Config, Delivery, Holding, Options, Outbox, Redaction, Restoring, Writing}
  alias Kantoku.Health.Pulse
  alias Kantoku.Telemetry
  alias Kantoku.Trace.{Agents, Handling, Open}
  require Logger

  @vsn 1

  @typedoc "What an agent is started with. `options` is checked by `Kantoku.Agent.Options`; a map may hold others' options too."
  @type arg :: %{
          instance: atom,
          id: term,
          module: module,
          args: term,
          options: Options.t() | map,
          incarnation: pos_integer,
          restore: boolean
        }

  @doc "Starts an agent's process, linked to the caller."
  @spec start_link(arg) :: GenServer.on_start()
  def start_link(%{options: %Options{hibernate_after: ms}} = arg) do
    GenServer.start_link(__MODULE__, {arg, System.monotonic_time()}, hibernate_after: ms)
  end

  def start_link(%{options: options} = arg) do
    start_link(%{arg | options: options |> Map.take(Options.names()) |> Options.new!()})
  end

  @doc "The agent, as `cmd/2` last returned it."
  @spec state(GenServer.server(), timeout) :: Kantoku.Agent.t()
  def state(server, timeout \\ 5_000), do: GenServer.call(server, {:"$kantoku", :state}, timeout)

  @doc """
  What the server knows about its agent: `revision` and the newest that the store has (`kept`), `incarnation`, `undelivered` directives.
  """
  @spec info(GenServer.server(), timeout) :: %{
          revision: non_neg_integer,
          kept: non_neg_integer,
          incarnation: pos_integer,
          undelivered: non_neg_integer
        }
  def info(server, timeout \\ 5_000), do: GenServer.call(server, {:"$kantoku", :info}, timeout)

  @doc "Writes what is unwritten, whatever the policy; answers when it is kept."
  @spec snapshot(GenServer.server(), timeout) :: {:ok, revision :: non_neg_integer} | {:error, {:not_durable, term}}
  def snapshot(server, timeout \\ 5_000), do: GenServer.call(server, {:"$kantoku", :snapshot}, timeout)

  @doc """
  Waits until all directives are delivered and all changes kept; writes whatever the policy. `{:error, :timeout}` if that is not so
  within `timeout` ms; the server goes on trying.
  """
  @spec settle(GenServer.server(), timeout) :: :ok | {:error, :timeout}
  def settle(server, timeout) do
    GenServer.call(server, {:"$kantoku", :settle}, timeout)
  catch
    :exit, {:timeout, _call} -> {:error, :timeout}
  end

  # Callbacks --------------------------------------------------------------------------------------------------------

  # Exits are trapped so that an orderly shutdown gets to write.
  @impl true
  def init({arg, started}) do
    Process.flag(:trap_exit, true)
    # What `:proc_lib` has put there, as a literal that all share: 32 bytes less for each.
    Process.put(:"$initial_call", {__MODULE__, :init, 1})
    config = Config.shared(arg.instance, arg.module, arg.options)
    holding = Holding.new(config, arg.id, arg.incarnation)
    Handling.born(arg.instance, arg.id)
    {:ok, holding, {:continue, {:restore, arg.args, arg.restore, started}}}
  end

  @impl true
  def handle_continue({:restore, args, restore?, started}, holding) do
    case Restoring.restore(holding, args, restore?) do
      {:ok, holding, restored?} -> holding |> ready(restored?, started) |> Delivery.proceed() |> stay()
      {:park, reason} -> park(reason, holding)
      {:error, reason} -> {:stop, reason, holding}
    end
  end

  defp ready(holding, restored?, started) do
    metadata = %{pid: self(), incarnation: holding.incarnation, revision: holding.revision, restored: restored?}
    Holding.emit(holding, [:agent, :ready], %{duration: System.monotonic_time() - started}, metadata)
    holding
  end

  @impl true
  def handle_call(request, from, asleep) when is_tuple(asleep), do: handle_call(request, from, Asleep.wake(asleep))
  def handle_call({:"$kantoku", :state}, _from, holding), do: {:reply, holding.agent, holding, idle(holding)}
  def handle_call({:"$kantoku", :info}, _from, holding), do: {:reply, Holding.about(holding), holding, idle(holding)}
  def handle_call({:"$kantoku", :snapshot}, from, holding), do: go_on(Writing.write_for(holding, from))
  def handle_call({:"$kantoku", :settle}, from, holding), do: holding |> Writing.drain(from) |> go_on()

  def handle_call({:"$kantoku", {:traced, place, sent, action}}, from, holding),
    do: act(holding, from, action, {place, sent})

  def handle_call(action, from, holding), do: act(holding, from, action, Agents.carried(from))

  @impl true
  def handle_cast(action, asleep) when is_tuple(asleep), do: handle_cast(action, Asleep.wake(asleep))

  def handle_cast({:"$kantoku", {:traced, place, sent, action}}, holding),
    do: act(holding, nil, action, {place, sent})

  def handle_cast(action, holding), do: act(holding, nil, action, nil)

  @impl true
  def handle_info(message, asleep) when is_tuple(asleep), do: handle_info(message, Asleep.wake(asleep))

  def handle_info({:kantoku_delivery, courier, result}, %{pending: %{courier: {courier, _started}}} = holding),
    do: reported(result, holding)

  def handle_info({:EXIT, courier, reason}, %{pending: %{courier: {courier, _started}}} = holding),
    do: reported({:error, {:exit, reason}}, holding)

  def handle_info({:kantoku_store, ref, result}, holding), do: holding |> Writing.answered(ref, result) |> go_on()
  def handle_info({:"$kantoku", :write}, holding), do: holding |> Writing.timer() |> go_on()

  def handle_info({:"$kantoku", {:pulse, {_instance, node} = pulse}}, holding) do
    Pulse.take_up(pulse)
    stay(%{holding | pulse: node})
  end

  def handle_info({:"$kantoku", :deliver}, holding), do: holding |> Delivery.again() |> go_on()
  def handle_info(:timeout, %{config: %{packs: true}} = holding), do: {:noreply, Asleep.lie_down(holding), :hibernate}

  def handle_info(message, %{config: %{module: module}} = holding) do
    if function_exported?(module, :handle_info, 2),
      do: run(holding, nil, &module.handle_info(message, &1)),
      else: unknown(message, holding)
  end

  # A linked process that failed takes the agent with it, as it would if exits were not trapped.
  defp unknown({:EXIT, _pid, :normal}, holding), do: stay(holding)
  defp unknown({:EXIT, _pid, reason}, holding), do: {:stop, reason, holding}

  defp unknown(_message, %{config: config} = holding) do
    Logger.warning(
      "Kantoku: agent #{inspect(holding.id)} dropped a message: #{inspect(config.module)} has no handle_info/2"
    )

    Telemetry.emit(config.instance, [:agent, :unhandled], %{}, %{id: holding.id, module: config.module})

    stay(holding)
  end

  @impl true
  def terminate(reason, asleep) when is_tuple(asleep), do: terminate(reason, Asleep.wake(asleep))

  def terminate(_reason, holding) do
    Delivery.recall(holding)
    if not Holding.unborn?(holding), do: Writing.last(holding)
  end

  # A release upgrade asks every server; those whose agent has a new shape bring it up to date. A refusal ends the upgrade.
  @impl true
  def code_change(old, asleep, extra) when is_tuple(asleep), do: code_change(old, Asleep.wake(asleep), extra)

  def code_change(_old, %{config: %{module: module}} = holding, _extra) do
    with {:ok, agent} <- Kantoku.Agent.migrate(module, holding.vsn, holding.agent) do
      %{instance: instance, options: options} = holding.config
      {:ok, %{holding | agent: agent, vsn: Kantoku.Agent.vsn(module), config: Config.shared(instance, module, options)}}
    end
  end

  # Older Elixir does not know this callback of OTP 25, newer asks for the annotation.
  @doc false
  if {:format_status, 1} in GenServer.behaviour_info(:callbacks), do: @impl(true)

  def format_status(%{state: asleep} = status) when is_tuple(asleep),
    do: format_status(%{status | state: Asleep.holding(asleep)})

  def format_status(%{state: %Holding{config: %{options: %{redact: true}}} = holding} = status),
    do: Redaction.status(status, holding)

  def format_status(status), do: status

  # Commands ---------------------------------------------------------------------------------------------------------

  defp act(%{config: %{instance: instance, module: module}} = holding, from, action, carried) do
    Handling.span(instance, holding.id, carried, fn -> run(holding, from, &module.cmd(&1, action)) end)
  end

  defp run(%{pulse: nil} = holding, from, fun), do: holding |> next(from, fun) |> go_on()

  defp run(%{config: config, pulse: node} = holding, from, fun) do
    pulse = {config.instance, node}
    Pulse.work(pulse, config.options.max_busy)
    holding = next(holding, from, fun)
    Pulse.rest(pulse)
    go_on(holding)
  end

  defp next(holding, from, fun) do
    {agent, directives} = command(holding, fun)
    {reply, effects} = Outbox.split(directives)
    change(holding, agent, effects, from, answer(reply))
  end

  defp command(%{config: %{module: module, options: options}, agent: agent}, fun) do
    Redaction.guard(options.redact, fn ->
      case fun.(agent) do
        {_agent, directives} = result when is_list(directives) -> result
        _other -> raise ArgumentError, "expected #{inspect(module)} to return {agent, directives} from a command"
      end
    end)
  end

  defp answer(:none), do: :ok
  defp answer({:reply, term}), do: term

  defp change(%{agent: agent} = holding, agent, [], from, reply), do: Writing.answer(holding, from, reply)

  defp change(holding, agent, effects, from, reply) do
    holding = Holding.change(holding, agent, effects)
    Holding.emit(holding, [:agent, :state_changed], %{revision: holding.revision}, %{directives: length(effects)})
    Writing.changed_for(holding, effects != [], from, reply)
  end

  # Deliveries -------------------------------------------------------------------------------------------------------

  defp reported(:ok, holding), do: holding |> Delivery.delivered() |> shorter_outbox()

  # The action's change and the end of the directive are one revision: neither is ever kept without the other.
  defp reported({:ok, action}, holding) do
    {effects, holding} = Open.at(Delivery.place(holding), fn -> followed(holding, action) end)
    Holding.emit(holding, [:agent, :state_changed], %{revision: holding.revision}, %{directives: length(effects)})
    holding |> Writing.changed(true) |> go_on()
  end

  defp reported({:error, reason}, holding) do
    case Delivery.refused(holding, reason) do
      {:retry, holding} -> go_on(holding)
      {:drop, holding} -> shorter_outbox(holding)
      {:park, reason, holding} -> park(reason, holding)
    end
  end

  defp followed(holding, action) do
    {agent, directives} = command(holding, &holding.config.module.cmd(&1, action))
    {_reply, effects} = Outbox.split(directives)
    {effects, holding |> Delivery.delivered() |> Holding.change(agent, effects)}
  end

  defp park(reason, holding) do
    Kantoku.Agents.park_me(holding.config.instance, holding.id, holding.incarnation, reason)
    {:stop, {:shutdown, {:kantoku_park, reason}}, holding}
  end

  # A policy that spares writes is asked to write an outbox only when it is empty: in between a crash repeats deliveries.
  defp shorter_outbox(holding) do
    holding = Holding.change(holding, holding.agent, [])
    holding |> Writing.changed(holding.pending.outbox == []) |> go_on()
  end

  # After every message ----------------------------------------------------------------------------------------------

  defp go_on(holding), do: holding |> Delivery.proceed() |> Writing.settled() |> stay()

  defp stay(holding), do: {:noreply, holding, idle(holding)}

  # How long without a message until it lies down; what does not is packed by `GenServer`, which knows less of it.
  defp idle(%{config: %{packs: true, options: %{hibernate_after: ms}}}), do: ms
  defp idle(_holding), do: :infinity
end
