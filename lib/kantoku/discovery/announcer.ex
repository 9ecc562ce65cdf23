defmodule Kantoku.Discovery.Announcer do
  # Tells modules of users where the listener is, and when that changes, all at once, each in a process that is given up when it takes too long. What it hears
  # last holds. Knows no listener.
  @moduledoc false
  use GenServer
  require Logger

  alias Kantoku.{Discovery, Telemetry}

  # For the callbacks of one change, in ms; and for those of the end, and more.
  @patience 5_000
  @shutdown 7_500

  @typep told :: {Discovery.endpoint() | nil, [module]}

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc false
  def child_spec(arg), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [arg]}, shutdown: @shutdown}

  @doc "Says where the listener is, if it is anywhere; often, and mostly what it was."
  @spec announce(Discovery.endpoint() | nil, [module]) :: :ok
  def announce(endpoint, modules), do: GenServer.cast(__MODULE__, {:announce, {endpoint, modules}})

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    {:ok, {nil, []}}
  end

  @impl true
  def handle_cast({:announce, same}, same), do: {:noreply, same}

  def handle_cast({:announce, {endpoint, modules}}, told) do
    tell(told, {endpoint, modules})
    {:noreply, {endpoint, modules}}
  end

  @impl true
  def handle_info(_late, told), do: {:noreply, told}

  @impl true
  def terminate(_reason, told), do: tell(told, {nil, []})

  @spec tell(told, told) :: :ok
  defp tell({before, old}, {now, new}) do
    asked =
      for module <- Enum.uniq(old ++ new),
          {function, arguments} <- List.wrap(call(before, now, module in old, module in new)),
          do: {spawn_monitor(fn -> apply(module, function, arguments) end), module, function}

    until = now() + @patience
    for {process, module, function} <- asked, do: await(process, module, function, until)
    :ok
  end

  defp call(nil, nil, _was?, _is?), do: nil
  defp call(before, _now, true, false) when before != nil, do: {:down, [before]}
  defp call(before, nil, true, true), do: {:down, [before]}
  defp call(nil, now, _was?, true), do: {:up, [now]}
  defp call(_before, now, false, true), do: {:up, [now]}
  defp call(same, same, true, true), do: nil
  defp call(before, now, true, true), do: {:changed, [before, now]}
  defp call(_before, _now, _was?, _is?), do: nil

  defp await({pid, ref}, module, function, until) do
    receive do
      {:DOWN, ^ref, :process, _pid, :normal} -> :ok
      {:DOWN, ^ref, :process, _pid, reason} -> complain(module, function, Exception.format_exit(reason))
    after
      max(until - now(), 0) ->
        Process.demonitor(ref, [:flush])
        Process.exit(pid, :kill)
        complain(module, function, "it took longer than #{@patience} ms")
    end
  end

  defp now, do: System.monotonic_time(:millisecond)

  defp complain(module, function, why) do
    Logger.error("Kantoku: #{inspect(module)}.#{function} of Kantoku.Discovery failed: #{why}")
    Telemetry.emit(nil, [:discovery, :failed], %{}, %{module: module, function: function, reason: why})
  end
end
