defmodule Kantoku.Agent.AsleepTest do
  use Kantoku.Test.AgentCase, async: true
  require Logger

  defmodule Still do
    use Kantoku.Agent
    defstruct count: 0
    @impl true
    def new(_args), do: %__MODULE__{}
    @impl true
    def cmd(still, {:add, n}), do: {%{still | count: still.count + n}, [{:reply, still.count + n}]}
    def cmd(still, {:tell, metadata}), do: {still, [{:reply, Logger.metadata(metadata)}]}
    def cmd(still, :told), do: {still, [{:reply, Logger.metadata()}]}
    def cmd(still, {:keep, what}), do: {%{still | count: what}, []}
    def cmd(_still, :crash), do: raise("crashed as asked")
  end

  defmodule Timed do
    use Kantoku.Agent
    @impl true
    def new(teller), do: teller
    @impl true
    def cmd(teller, :told), do: {teller, [{:reply, Logger.metadata()}]}

    @impl true
    def handle_info(message, teller) do
      send(teller, {:heard, message})
      {teller, []}
    end
  end

  defp still(context, options \\ [], overrides \\ %{}),
    do: start(context, [hibernate_after: 0] ++ options, Map.put(overrides, :module, Still))

  # Waits until it is packed.
  defp asleep(pid) do
    wait_until(fn -> Process.info(pid, :current_function) == {:current_function, {:erlang, :hibernate, 3}} end)
    pid
  end

  defp metadata(pid), do: pid |> Process.info(:dictionary) |> elem(1) |> Keyword.get(:"$logger_metadata$")

  test "it goes on where it was, whatever wakes it", context do
    pid = still(context)
    assert GenServer.call(asleep(pid), {:add, 1}) == 1
    GenServer.cast(asleep(pid), {:add, 2})
    assert Server.info(asleep(pid)).revision == 2
    assert Server.state(asleep(pid)).count == 3
    send(asleep(pid), :timeout)
    assert {:ok, 2} = Server.snapshot(asleep(pid))
    assert Server.settle(asleep(pid), 30_000) == :ok
    assert GenServer.call(asleep(pid), {:add, 1}) == 4
  end

  test "the Logger is told again who it is, and what else it was told it keeps", context do
    pid = still(context)
    assert metadata(asleep(pid)) == nil
    assert Map.new(GenServer.call(pid, :told)) == %{agent: "a", instance: context.instance}
    assert metadata(asleep(pid)) == nil
    GenServer.call(pid, {:tell, [tenant: 7]})
    assert metadata(asleep(pid)) == %{agent: "a", instance: context.instance, tenant: 7}
    assert GenServer.call(pid, :told)[:tenant] == 7
    GenServer.call(pid, {:tell, [agent: nil, instance: nil, tenant: nil]})
    assert GenServer.call(asleep(pid), :told) == []
  end

  test "it can be suspended, looked at and brought up to date", context do
    pid = still(context)
    GenServer.call(pid, {:add, 1})
    :ok = :sys.suspend(asleep(pid))
    :ok = :sys.change_code(pid, Server, 1, nil)
    :ok = :sys.resume(pid)
    assert inspect(:sys.get_status(asleep(pid)), limit: :infinity) =~ "redacted"
    assert GenServer.call(pid, {:add, 1}) == 2
  end

  test "it writes what it has when it ends", context do
    pid = still(context, snapshot: :on_stop)
    GenServer.call(pid, {:add, 4})
    stop(asleep(pid))
    assert Server.state(still(context, [], %{incarnation: 2})).count == 4
  end

  test "a command that fails as it wakes tells the Logger who it was, and not what it had", context do
    pid = still(context, [], %{id: "woken", args: "a secret"})
    GenServer.call(pid, {:keep, "a secret"})

    log =
      ExUnit.CaptureLog.capture_log([metadata: [:agent], format: "$metadata$message\n"], fn ->
        catch_exit(GenServer.call(asleep(pid), :crash))
        gone(pid)
      end)

    assert log =~ "agent=woken"
    refute log =~ "a secret"
    assert Server.state(still(context, [], %{id: "woken", incarnation: 2})).count == "a secret"
  end

  test "those of one supervisor have their ancestors together", context do
    [one, two] =
      for id <- [1, 2] do
        {:dictionary, dictionary} = context |> still([], %{id: id}) |> asleep() |> Process.info(:dictionary)
        dictionary[:"$ancestors"]
      end

    assert hd(one) == self()
    assert one == two
  end

  test "a module with handle_info/2 has the message :timeout for itself", context do
    pid = start(context, [hibernate_after: 0], %{module: Timed, args: self()})
    asleep(pid)
    refute_received {:heard, _}
    send(pid, :timeout)
    assert_receive {:heard, :timeout}
    assert GenServer.call(asleep(pid), :told)[:agent] == "a"
  end
end
