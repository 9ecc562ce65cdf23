defmodule Kantoku.Resources.TrafficTest do
  # Kills and holds up who looks for the whole VM.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{OtherVM, Resources}
  alias Kantoku.Resources.{Carried, Owners, Traffic}

  setup do
    instance = start!(health: [period: 20, at_risk: false])
    %{instance: instance, pid: worker!(instance, "a")}
  end

  defp carried(instance) do
    {:ok, %{io: io}} = Resources.of(instance, "a", 30_000)
    io
  end

  defp carry(pid, text) do
    GenServer.call(pid, {:run, fn -> echo(text) end})
  end

  defp echo(text) do
    port = Port.open({:spawn_executable, System.find_executable("cat")}, [:binary])
    Port.command(port, text)
    receive do: ({^port, {:data, ^text}} -> port)
  end

  test "who looks is killed, and its successor counts nothing twice and forgets nothing", %{
    instance: instance,
    pid: pid
  } do
    port = carry(pid, "hello")
    assert eventually(fn -> carried(instance) == %{ports: 1, input: 5, output: 5} end)
    looks = Process.whereis(Traffic)
    kill(looks)
    assert eventually(fn -> Process.whereis(Traffic) not in [nil, looks] end)
    assert carried(instance) == %{ports: 1, input: 5, output: 5}
    GenServer.call(pid, {:run, fn -> Port.close(port) end})
    carry(pid, "hi")
    assert eventually(fn -> carried(instance) == %{ports: 1, input: 7, output: 7} end)
  end

  test "while who looks is held up, what was found before is told", %{instance: instance, pid: pid} do
    carry(pid, "hello")
    assert eventually(fn -> carried(instance).input == 5 end)
    on_exit(fn -> :sys.resume(Traffic) end)
    :sys.suspend(Traffic)
    assert carried(instance) == %{ports: 1, input: 5, output: 5}
    assert {:ok, %{agents: [%{id: "a", io: %{input: 5}}]}} = Resources.io(instance)
    assert %{io: %{unattributed: %{input: _}}} = Resources.vm()
  end

  test "what is carried for who has not said whose it is waits for that, and is nobody's until then" do
    vm = OtherVM.start()
    OtherVM.run(vm, {:sys, :suspend, [Traffic]})
    [port | _] = OtherVM.run(vm, {Port, :list, []})
    owner = OtherVM.run(vm, {Process, :whereis, [Kantoku.Instances]})
    note = &OtherVM.run(vm, {Carried, :note, [&1, &2, {5, 7}]})
    moves = fn -> OtherVM.run(vm, {Carried, :moves, [[{port, owner, {5, 7}}]]}) end
    told = fn -> {OtherVM.run(vm, {Carried, :by, [:any, owner]}), OtherVM.run(vm, {Carried, :nobodys, []})} end
    none = %{ports: 0, input: 0, output: 0}

    note.(moves.(), %{})
    assert told.() == {none, %{ports: 1, input: 5, output: 7}}
    assert moves.() == [{port, owner, {5, 7}, {5, 7}}]
    note.(moves.(), %{owner => {:any, Carried, "a", :default, owner}})
    assert moves.() == [{port, owner, {5, 7}, {0, 0}}]
    assert told.() == {%{ports: 1, input: 5, output: 7}, %{ports: 0, input: 5, output: 7}}
    note.([], %{})
    assert told.() == {%{ports: 0, input: 5, output: 7}, %{ports: 0, input: 5, output: 7}}
    OtherVM.stop(vm)
  end

  test "however often it is asked for, looking takes a small part of a scheduler", %{instance: instance, pid: pid} do
    carry(pid, "hello")
    assert eventually(fn -> carried(instance).input == 5 end)
    trace(true)
    begun = now()
    asked = ask_on(begun + System.convert_time_unit(500, :millisecond, :native), 0)
    took = now() - begun
    trace(false)
    assert asked > 1_000
    looks = looks([])
    # After the last it did not rest yet.
    assert length(looks) >= 2 and Enum.sum(tl(looks)) < took / 10
  end

  # A look begins with the one call, and ends with the other.
  @begins {Owners, :instances, 0}
  @ends {Carried, :note, 3}

  defp trace(on?) do
    :erlang.trace(Process.whereis(Traffic), on?, [:call, :monotonic_timestamp])
    :erlang.trace_pattern(@begins, on?, [:global])
    :erlang.trace_pattern(@ends, if(on?, do: [{:_, [], [{:return_trace}]}], else: false), [:global])
  end

  # For so long, and until it looked twice.
  defp ask_on(until, times) do
    {:message_queue_len, told} = Process.info(self(), :message_queue_len)
    if now() < until or told < 6, do: Traffic.look() && ask_on(until, times + 1), else: times
  end

  # How long each look took, in native units.
  defp looks(before) do
    receive do
      {:trace_ts, _pid, :call, {Owners, :instances, []}, began} -> ended(began, before)
    after
      0 -> before
    end
  end

  defp ended(began, before) do
    receive do
      {:trace_ts, _pid, :return_from, @ends, :ok, ended} -> looks([ended - began | before])
    after
      0 -> before
    end
  end

  defp now, do: System.monotonic_time()
end
