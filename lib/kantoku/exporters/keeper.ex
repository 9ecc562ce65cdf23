defmodule Kantoku.Exporters.Keeper do
  # Has the VM's exporters be as the instances want them: starts what is missing, ends what nobody wants, looks again each second. One for the VM, below
  # the application, with which it stops. What it knows is in the table of members and in the library; its death costs a moment without exports.
  #
  # K1. There is at most one listener: that of the member who came first. What others want of it besides is told, and not done.
  # K2. An exporter that several want alike is one.
  # K3. Spans are sent of an instance for as long as it traces: who says that it does, or does no more, has this look.
  # K4. What cannot be started is told once, tried again, and nobody's failure.
  # K5. That the VM lives is said by `Heart`: what is waited for here, users' functions among it, is bounded, and nobody's pulse.
  @moduledoc false
  use GenServer
  require Logger

  alias Kantoku.Exporters.{Config, Environment, Given, Heart, Members, Native, Secret}
  alias Kantoku.{Api, Discovery, Error, Telemetry, Trace}
  alias Kantoku.Discovery.Announcer
  alias Kantoku.Telemetry.Complaint

  @look 1_000
  @again 5_000
  # What the end of all exporters takes at most, and more.
  @patience 15_000
  # For an instance that ends.
  @parting 4_500
  # The library's patience with the VM where there is no listener, and so nobody who asks.
  @silence 30_000

  defstruct timer: nil, serving?: false, http: nil, exporters: %{}, failed: %{}, told: [], ignored: [], complained: nil

  @type t :: %__MODULE__{
          timer: reference | nil,
          serving?: boolean,
          http: {Config.http(), address :: String.t()} | nil,
          exporters: %{Config.exporter() => Native.id()},
          failed: %{optional(:given | :http | Config.exporter()) => {Error.t(), at :: integer}}
        }

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc false
  def child_spec(arg), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [arg]}, shutdown: @patience}

  @doc "Has it look at who wants what."
  @spec look() :: :ok
  def look, do: GenServer.cast(__MODULE__, :look)

  @doc "As `look/0`, and answers when that is so; whoever keeps exporters then."
  @spec await() :: :ok
  def await, do: ask(:look)

  @doc "Has all exporters send now, and answers when they have, or cannot."
  @spec flush() :: :ok
  def flush, do: ask(:flush)

  defp ask(what) do
    GenServer.call(__MODULE__, what, @parting)
  catch
    # It is being started again, or stopping: then it looks anyway.
    :exit, _reason -> :ok
  end

  @doc "What it has, what it cannot have, by part, and whose options `:http` are ignored."
  @spec state() :: {{Config.http(), address :: String.t()} | nil, running :: map, failed :: map, ignored :: [atom]}
  def state, do: GenServer.call(__MODULE__, :state, @patience)

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    # Whatever a predecessor left would not beat.
    Native.stop()
    {:ok, %__MODULE__{}, {:continue, :look}}
  end

  @impl true
  def handle_continue(:look, state), do: {:noreply, reconcile(state)}

  @impl true
  def handle_cast(:look, state), do: {:noreply, reconcile(state)}

  @impl true
  def handle_call(:look, _from, state), do: {:reply, :ok, reconcile(state)}

  def handle_call(:flush, _from, state) do
    state = given(state)
    if state.exporters != %{}, do: Native.flush()
    {:reply, :ok, state}
  end

  def handle_call(:state, _from, state) do
    failed = Map.new(state.failed, fn {part, {error, _at}} -> {part, error} end)
    {:reply, {state.http, state.exporters, failed, state.ignored}, state}
  end

  @impl true
  def handle_info({:timeout, timer, :look}, %{timer: timer} = state), do: {:noreply, reconcile(%{state | timer: nil})}
  def handle_info({:kantoku_exporters, {:panic, text}}, state), do: {:noreply, panicked(state, text)}

  def handle_info({:kantoku_exporters, {:dropped, exporter, why, dropped}}, state) do
    what = if exporter == "otlp_traces", do: "spans", else: "figures"
    Logger.warning("Kantoku's exporter #{exporter} dropped #{dropped} #{what}: #{why}")
    tell(state, [:exporter, :dropped], %{points: dropped}, %{exporter: exporter, reason: why})
    {:noreply, state}
  end

  def handle_info({:kantoku_exporters, {:resumed, exporter}}, state) do
    Logger.info("Kantoku's exporter #{exporter} sends all it has again")
    tell(state, [:exporter, :resumed], %{}, %{exporter: exporter})
    {:noreply, state}
  end

  def handle_info(_message, state), do: {:noreply, state}

  defp panicked(state, text) do
    Telemetry.emit(nil, [:native, :panic], %{}, %{place: text})

    if Complaint.due?(state.complained, now()) do
      Logger.error("Kantoku's native library caught a panic in its exporters: #{text}")
      %{state | complained: now()}
    else
      state
    end
  end

  @impl true
  def terminate(_reason, state) do
    if state.serving?, do: Native.stop()
  end

  # Having what is wanted -------------------------------------------------------------------------------------------------

  defp reconcile(state) do
    members = living()
    instances = for {instance, _, _, _, _} <- members, do: instance
    # Who has just left hears of what ends with it.
    state = %{state | told: Enum.uniq(state.told ++ instances)}
    http = Enum.find_value(members, fn {_instance, _pid, _number, config, _started?} -> config.http end)
    exporters = for {instance, _, _, config, _} <- members, wish <- wishes(instance, config), uniq: true, do: wish
    state = state |> without_unwanted(http, exporters) |> with_runtime(http, exporters) |> given()
    Heart.beat()
    Heart.look()
    announce(state.http, instances)
    Members.put_refused(for {_part, {error, _at}} <- state.failed, do: {error.details.what, error})
    look_again(%{state | told: instances, ignored: ignored(state, members, http)}, members)
  end

  # K1. Functions of users are taken for the same.
  defp ignored(state, members, http) do
    ignored = for {instance, _, _, %{http: own}, _} <- members, own != nil, plain(own) != plain(http), do: instance

    for instance <- ignored -- state.ignored do
      Logger.warning(
        "Kantoku: there is one listener in a VM, as the instance that came first wants it; other options :http of instance " <>
          "#{inspect(instance)} are ignored"
      )
    end

    ignored
  end

  defp plain(http), do: %{http | token: plain_token(http.token), admin: plain_token(http.admin)}

  defp plain_token({:token, secret}), do: {:token, Secret.given(secret)}
  defp plain_token(file_or_none), do: file_or_none

  defp announce(nil, _instances), do: Announcer.announce(nil, [])

  defp announce({config, address}, instances),
    do: Announcer.announce(Discovery.endpoint(config.advertise || address, instances), config.discovery)

  # K2, K3
  defp wishes(instance, %{exporters: exporters}) do
    for exporter <- exporters, wish = wish(exporter, instance), do: wish
  end

  defp wish({:otlp_traces, config}, instance) do
    if Trace.Config.of(instance), do: {:otlp_traces, Map.put(config, :instance, instance)}
  end

  defp wish(exporter, _instance), do: exporter

  # Who was killed could not leave.
  defp living do
    for {instance, pid, _, _, _} = member <- Members.all(),
        Process.alive?(pid) or not Members.leave(instance, pid),
        do: member
  end

  defp without_unwanted(state, http, exporters) do
    wanted = if http, do: [:given, :http | exporters], else: [:given | exporters]
    state = if state.http && elem(state.http, 0) != http, do: hang_up(state), else: state
    {kept, ended} = Map.split(state.exporters, exporters)
    for {{kind, _config}, id} <- ended, do: finish(state, kind, id)
    %{state | exporters: kept, failed: Map.take(state.failed, wanted)}
  end

  defp hang_up(state) do
    Native.hang_up()
    Api.Supervisor.look()
    tell(state, [:exporter, :stopped], %{}, %{exporter: :http})
    %{state | http: nil}
  end

  defp finish(state, kind, id) do
    Native.finish(id)
    tell(state, [:exporter, :stopped], %{}, %{exporter: kind})
  end

  defp with_runtime(%{serving?: false} = state, nil, []), do: state

  defp with_runtime(state, nil, []) do
    Native.stop()
    %{state | serving?: false}
  end

  defp with_runtime(%{serving?: false} = state, http, exporters) do
    case Native.start(@silence) do
      :ok -> with_parts(%{state | serving?: true}, http, exporters)
      {:error, error} -> Enum.reduce(parts(http, exporters), state, &fail(&2, part_of(&1), error))
    end
  end

  defp with_runtime(state, http, exporters), do: with_parts(state, http, exporters)

  defp with_parts(state, http, exporters) do
    missing = for part <- parts(http, exporters), not running?(state, part), due?(state, part_of(part)), do: part
    Enum.reduce(missing, state, &start/2)
  end

  defp parts(nil, exporters), do: exporters
  defp parts(http, exporters), do: [{:http, http} | exporters]

  defp part_of({:http, _config}), do: :http
  defp part_of(exporter), do: exporter

  defp running?(state, {:http, _config}), do: state.http != nil
  defp running?(state, exporter), do: Map.has_key?(state.exporters, exporter)

  defp due?(state, part) do
    case state.failed do
      %{^part => {_error, at}} -> now() - at >= @again
      _never -> true
    end
  end

  defp start({:http, http}, state) do
    case Native.listen(http) do
      {:ok, address} ->
        Api.Supervisor.look()
        started(%{state | http: {http, address}}, :http, :http, address)

      {:error, error} ->
        fail(state, :http, error)
    end
  end

  defp start({kind, _config} = exporter, state) do
    case Native.push(exporter) do
      {:ok, id} ->
        say_unheeded(kind)
        started(%{state | exporters: Map.put(state.exporters, exporter, id)}, exporter, kind, nil)

      {:error, error} ->
        fail(state, exporter, error)
    end
  end

  defp say_unheeded(kind) do
    for signal <- signals(kind), {variable, value, instead} <- Environment.unheeded(signal) do
      Logger.warning("Kantoku's exporter #{kind} knows no #{variable}=#{value}: what it sends is #{instead}")
    end
  end

  defp signals(:otlp), do: [:metrics]
  defp signals(:otlp_traces), do: [:traces]
  defp signals(_statsd), do: []

  defp started(state, part, kind, address) do
    tell(state, [:exporter, :started], %{}, %{exporter: kind, address: address})
    %{state | failed: Map.delete(state.failed, part)}
  end

  # K4
  defp fail(state, part, error) do
    unless match?(%{^part => {^error, _at}}, state.failed) do
      Logger.warning("Kantoku: " <> Exception.message(error))
      tell(state, [:exporter, :refused], %{}, %{exporter: error.details.what, reason: error})
    end

    %{state | failed: Map.put(state.failed, part, {error, now()})}
  end

  # What the library cannot measure, as it is now; it is given again with each look.
  defp given(%{serving?: false} = state), do: state

  defp given(state) do
    case Native.give(Given.families()) do
      :ok -> %{state | failed: Map.delete(state.failed, :given)}
      {:error, error} -> fail(state, :given, error)
    end
  end

  defp look_again(state, []), do: cancel(state)

  defp look_again(state, _members) do
    state = cancel(state)
    %{state | timer: :erlang.start_timer(@look, self(), :look)}
  end

  defp cancel(%{timer: nil} = state), do: state

  defp cancel(state) do
    _ = :erlang.cancel_timer(state.timer)
    %{state | timer: nil}
  end

  defp tell(state, event, measurements, metadata),
    do: Enum.each(state.told, &Telemetry.emit(&1, event, measurements, metadata))

  defp now, do: System.monotonic_time(:millisecond)
end
