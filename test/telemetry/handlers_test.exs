defmodule Kantoku.Telemetry.HandlersTest do
  use ExUnit.Case, async: true

  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.Telemetry
  alias Kantoku.Telemetry.Handlers

  setup context do
    name = :"handlers #{context.test}"
    on_exit(fn -> Telemetry.detach(name) end)
    {:ok, name: name}
  end

  # Handles events by telling the test; the ids `:raise`, `:exit` and `:throw` are what they say, and `{:wait, pid}` waits for that process.
  def obey(_name, _measurements, %{id: id}, test) do
    case id do
      :raise -> raise ArgumentError, "a secret of somebody's"
      :exit -> exit(:enough)
      :throw -> throw(:ball)
      :wait -> wait(test)
      _other -> send(test, {:handled, id, self()})
    end
  end

  defp wait(test) do
    send(test, {:waiting, self()})

    receive do
      :go_on -> :ok
    end
  end

  defp attach!(name, opts \\ []) do
    opts = Keyword.merge([instance: name, config: self()], opts)
    assert Telemetry.attach(name, [[:agent, :stopped]], &__MODULE__.obey/4, opts) == :ok
  end

  defp stopped(name, id), do: Telemetry.emit(name, [:agent, :stopped], %{}, %{id: id})

  defp shown(name), do: Enum.find(Telemetry.handlers(), &(&1.id == name))

  defp subscribed(name) do
    {:ok, ref} = Telemetry.subscribe(name, events: [[:handler]])
    ref
  end

  defp events(ref, count) do
    for _ <- 1..count do
      assert_receive {:kantoku_event, ^ref, [:kantoku, :handler, verb], measurements, metadata}
      {verb, measurements, metadata}
    end
  end

  test "what handlers did is a metric, of those of an instance and of those that hear of all", %{name: name} do
    instance = Kantoku.InstanceCase.start!()
    attach!(name, queue: 2, instance: instance)
    of_all = {name, self()}
    :ok = Telemetry.attach(of_all, [[:agent, :unparked]], fn _, _, _, _ -> :ok end)
    on_exit(fn -> Telemetry.detach(of_all) end)
    stopped(instance, :wait)
    assert_receive {:waiting, handler}
    for id <- 1..4, do: stopped(instance, id)
    assert counted(instance, Atom.to_string(name)) == %{"handled" => 0.0, "failed" => 0.0, "dropped" => 3.0}
    send(handler, :go_on)
    assert_receive {:handled, 1, _pid}
    eventually(fn -> counted(instance, Atom.to_string(name))["handled"] == 2.0 end)
    assert %{"handled" => _} = counted(instance, inspect(of_all))
  end

  defp counted(instance, handler) do
    {:ok, families} = Kantoku.Metrics.snapshot(instance)
    %{kind: :counter, series: series} = Enum.find(families, &(&1.name == "kantoku_handler_events"))

    for %{labels: %{"handler" => ^handler, "outcome" => outcome}, value: value} <- series,
        into: %{},
        do: {outcome, value}
  end

  test "a handler runs in a process of its own by default, in order", %{name: name} do
    attach!(name)
    for id <- 1..5, do: stopped(name, id)
    pids = for id <- 1..5, do: assert_receive({:handled, ^id, pid}) && pid
    assert [pid] = Enum.uniq(pids)
    assert pid != self()
    eventually(fn -> match?(%{handled: 5, waiting: 0, dropped: 0, failed: 0, status: :attached}, shown(name)) end)
  end

  test "with mode: :sync it runs in the process that emits", %{name: name} do
    attach!(name, mode: :sync)
    stopped(name, 1)
    test = self()
    assert_received {:handled, 1, ^test}
    assert %{handled: 1, mode: :sync} = shown(name)
  end

  test "it hears of its instance alone, or, without one, of all and of what is of none", %{name: name} do
    attach!(name, instance: nil)
    attach!({name, :own}, instance: name)
    stopped(:"another of #{name}", {name, 1})
    stopped(nil, {name, 2})
    stopped(name, {name, 3})
    for id <- 1..3, do: assert_receive({:handled, {^name, ^id}, _pid})
    assert_receive {:handled, {^name, 3}, _pid}
    refute_received {:handled, {^name, _id}, _pid}
    assert Telemetry.detach({name, :own}) == :ok
  end

  test "one that hangs holds nobody up; beyond its queue events are dropped, counted and told of", %{name: name} do
    ref = subscribed(name)
    attach!(name, queue: 3)
    stopped(name, :wait)
    assert_receive {:waiting, pid}
    for id <- 1..10, do: stopped(name, id)
    assert %{waiting: 3, dropped: 8, handled: 0} = shown(name)
    send(pid, :go_on)
    assert_receive {:handled, 2, ^pid}
    eventually(fn -> match?(%{waiting: 0, dropped: 8, handled: 3}, shown(name)) end)
    assert [{:dropped, %{events: 8}, %{handler: ^name, instance: ^name}}] = events(ref, 1)
  end

  test "one that hangs can be detached, and its id taken again", %{name: name} do
    attach!(name)
    assert Telemetry.attach(name, [[:agent]], &__MODULE__.obey/4) == {:error, :already_exists}
    stopped(name, :wait)
    assert_receive {:waiting, pid}
    assert Telemetry.detach(name) == :ok
    refute Process.alive?(pid)
    assert {Telemetry.detach(name), shown(name)} == {{:error, :not_found}, nil}
    attach!(name)
  end

  for mode <- [:async, :sync] do
    test "#{mode}: one that fails is told of and attached again, the first time at once", %{name: name} do
      ref = subscribed(name)
      attach!(name, mode: unquote(mode))
      stopped(name, :raise)

      assert [{:failed, %{retry_in: 0}, failed}, {:reattached, %{detached_for: 0}, %{handler: ^name}}] = events(ref, 2)

      assert %{action: :reattach, kind: :error, reason: %ArgumentError{}, event: [:kantoku, :agent, :stopped]} = failed
      eventually(fn -> shown(name).status == :attached end)
      stopped(name, 2)
      assert_receive {:handled, 2, _pid}
      eventually(fn -> match?(%{handled: 1, failed: 1}, shown(name)) end)
    end

    test "#{mode}: it waits for its back-off, and is given up when it fails too often", %{name: name} do
      ref = subscribed(name)
      attach!(name, mode: unquote(mode), backoff: [base: 1, cap: 1], budget: [crashes: 2])

      for {id, kind} <- [raise: :error, exit: :exit] do
        stopped(name, id)
        assert [{:failed, %{retry_in: retry_in}, %{kind: ^kind}}, {:reattached, _, _}] = events(ref, 2)
        assert retry_in in 0..1
      end

      stopped(name, :throw)
      assert [{:failed, %{retry_in: :never}, %{action: :give_up, kind: :throw, reason: :ball}}] = events(ref, 1)
      eventually(fn -> shown(name).status == :given_up end)
      before = shown(name)
      stopped(name, 1)
      assert shown(name) == before

      assert Telemetry.reattach(name) == :ok
      assert [{:reattached, _, _}] = events(ref, 1)
      stopped(name, 2)
      assert_receive {:handled, 2, _pid}
    end

    test "#{mode}: with on_failure: :leave it is left out", %{name: name} do
      ref = subscribed(name)
      attach!(name, mode: unquote(mode), on_failure: :leave)
      stopped(name, :raise)
      assert [{:failed, %{retry_in: :never}, %{action: :leave}}] = events(ref, 1)
      eventually(fn -> shown(name).status == :left end)
    end
  end

  test "what comes while it waits for its back-off waits with it", %{name: name} do
    ref = subscribed(name)
    attach!(name, queue: 2, backoff: [base: 3_600_000, cap: 3_600_000])
    for _ <- 1..2, do: stopped(name, :raise)
    assert [{:failed, _, _}, {:reattached, _, _}, {:failed, _, _}] = events(ref, 3)
    for id <- 1..5, do: stopped(name, id)
    assert %{waiting: 2, dropped: 3, status: :waiting} = shown(name)
    refute_received {:handled, _id, _pid}
    assert Telemetry.reattach(name) == :ok
    for id <- 1..2, do: assert_receive({:handled, ^id, _pid})
  end

  test "whose process is killed goes on, and what that had not come to is counted as dropped", %{name: name} do
    attach!(name)
    stopped(name, :wait)
    assert_receive {:waiting, pid}
    for id <- 1..4, do: stopped(name, id)
    Process.exit(pid, :kill)
    eventually(fn -> Handlers.whereis(name) not in [pid, nil] and shown(name).dropped == 5 end)
    stopped(name, 5)
    assert_receive {:handled, 5, _pid}
  end

  test "the log has a line a minute, with the kind of error and without what it says", %{name: name} do
    ref = subscribed(name)

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        attach!(name, backoff: [base: 1, cap: 1], budget: [crashes: 100])

        for _ <- 1..3 do
          stopped(name, :raise)
          events(ref, 2)
        end
      end)

    assert [_before, line] = String.split(log, "A handler of events failed: #{inspect(name)}")
    assert line =~ "by ArgumentError in "
    assert line =~ "obey/4"
    refute line =~ "a secret"
  end

  test "bad arguments name the option, the value and what was expected", %{name: name} do
    assert_raise ArgumentError, ~r/function of 4 arguments, got: :no/, fn -> Telemetry.attach(name, [[]], :no) end
    assert_raise ArgumentError, ~r/\[:agnet\]/, fn -> Telemetry.attach(name, [[:agnet]], &__MODULE__.obey/4) end

    assert_raise ArgumentError, ~r/:mode: expected one of \[:async, :sync\], got: :later/, fn ->
      Telemetry.attach(name, [[]], &__MODULE__.obey/4, mode: :later)
    end
  end
end
