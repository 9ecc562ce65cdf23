defmodule Kantoku.TelemetryTest do
  use ExUnit.Case, async: true

  doctest Kantoku.Telemetry

  alias Kantoku.Telemetry
  alias Kantoku.Telemetry.Switchboard

  setup context do
    {:ok, instance: :"telemetry #{context.test}"}
  end

  defp stopped(instance, id), do: Telemetry.emit(instance, [:agent, :stopped], %{}, %{id: id})

  defp ids(messages), do: for({:kantoku_event, _ref, _name, _measurements, %{id: id}} <- messages, do: id)

  defp wait_until(condition) do
    if not condition.() do
      receive do
      after
        1 -> wait_until(condition)
      end
    end
  end

  defp subscriptions_of(instance), do: Enum.count(Switchboard.subscriptions(), &(elem(&1, 2) == instance))

  # A process that does what the test tells it, so that it can be suspended or killed as a subscriber.
  defp subscriber(instance, opts) do
    test = self()

    pid =
      spawn_link(fn ->
        {:ok, ref} = Telemetry.subscribe(instance, opts)
        send(test, {:subscribed, ref})
        obey()
      end)

    receive do
      {:subscribed, ref} -> {pid, ref}
    end
  end

  defp obey do
    receive do
      {:run, from, fun} ->
        send(from, {:ran, fun.()})
        obey()
    end
  end

  defp run(pid, fun) do
    send(pid, {:run, self(), fun})

    receive do
      {:ran, result} -> result
    end
  end

  test "an emitted event reaches a subscriber under its full name, with the instance in its metadata", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name)
    assert :ok = Telemetry.emit(name, [:agent, :restarting], %{delay: 5, crashes: 1}, %{id: 7})

    assert_receive {:kantoku_event, ^ref, [:kantoku, :agent, :restarting], %{delay: 5, crashes: 1},
                    %{id: 7, instance: ^name}}
  end

  test "an event that the catalogue does not have is refused though nobody listens", %{instance: name} do
    assert_raise ArgumentError, ~r/\[:agent, :exploded\]/, fn -> Telemetry.emit(name, [:agent, :exploded], %{}, %{}) end
    assert_raise ArgumentError, fn -> Telemetry.listening?([:kantoku, :agent, :stopped]) end
  end

  test "subscribers of one instance hear nothing of another", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name)
    stopped(:"another instance", 1)
    stopped(name, 2)
    assert [2] = ids(Telemetry.take(ref, 10, 1_000))
  end

  test "events are chosen by name or prefix, with or without the leading :kantoku", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name, events: [[:kantoku, :agent, :stopped], [:drain]])
    Telemetry.emit(name, [:agent, :unparked], %{parked_for: 1}, %{id: 1})
    stopped(name, 2)
    Telemetry.emit(name, [:drain, :start], %{agents: 1, deadline: 1}, %{domain: nil})

    assert [[:kantoku, :agent, :stopped], [:kantoku, :drain, :start]] =
             ref |> Telemetry.take(10, 1_000) |> Enum.map(&elem(&1, 2))
  end

  test "an event that two filters of one subscription match comes once", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name, events: [[:agent], [:agent, :stopped]])
    stopped(name, 1)
    assert [1] = ids(Telemetry.take(ref, 10, 1_000))
  end

  test "options that make no sense are refused with the option, the value and what was expected", %{instance: name} do
    assert_raise ArgumentError, ~r/:buffer expects a positive integer, got: 0/, fn ->
      Telemetry.subscribe(name, buffer: 0)
    end

    assert_raise ArgumentError, ~r/\[:agnet\]/, fn -> Telemetry.subscribe(name, events: [[:agnet]]) end
    assert_raise ArgumentError, ~r/:events expects a list/, fn -> Telemetry.subscribe(name, events: :agent) end
    assert_raise ArgumentError, fn -> Telemetry.subscribe(name, colour: :red) end
  end

  test "beyond the buffer events are dropped and counted, and acknowledging makes room again", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name, buffer: 3)
    Enum.each(1..10, &stopped(name, &1))
    assert Telemetry.dropped(ref) == 7
    assert Telemetry.outstanding(ref) == 3
    assert [1, 2] = ids(Telemetry.take(ref, 2))

    Enum.each(11..20, &stopped(name, &1))
    assert [3, 11, 12] = ids(Telemetry.take(ref, 10))
    assert Telemetry.dropped(ref) == 15
  end

  test "acknowledging more than was received never widens the buffer", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name, buffer: 2)
    Telemetry.ack(ref, 50)
    Enum.each(1..5, &stopped(name, &1))
    assert Telemetry.dropped(ref) == 3
  end

  test "a suspended subscriber holds no emitter up and finds its buffer full when it wakes", %{instance: name} do
    {pid, ref} = subscriber(name, buffer: 100)
    :erlang.suspend_process(pid)
    emitters = for part <- 0..3, do: Task.async(fn -> Enum.each(1..5_000, &stopped(name, {part, &1})) end)
    Task.await_many(emitters)
    assert {:message_queue_len, 100} = Process.info(pid, :message_queue_len)
    assert Telemetry.dropped(ref) == 19_900

    :erlang.resume_process(pid)
    assert 100 = run(pid, fn -> length(Telemetry.take(ref, 1_000)) end)
  end

  test "whatever emitters and a subscriber do at the same time, each event is received or counted as dropped", %{
    instance: name
  } do
    {:ok, ref} = Telemetry.subscribe(name, buffer: 16)
    emitters = for _ <- 1..4, do: Task.async(fn -> Enum.each(1..2_000, &stopped(name, &1)) end)
    received = consume(ref, Enum.map(emitters, & &1.ref), 0)
    assert received + Telemetry.dropped(ref) == 8_000
    assert Telemetry.outstanding(ref) == 0
  end

  defp consume(ref, [], received), do: received + length(Telemetry.take(ref, 100))

  defp consume(ref, running, received) do
    receive do
      {task, :ok} -> Process.demonitor(task, [:flush]) && consume(ref, List.delete(running, task), received)
      {:kantoku_event, ^ref, _, _, _} -> Telemetry.ack(ref) && consume(ref, running, received + 1)
    end
  end

  test "a subscriber's death ends its subscriptions", %{instance: name} do
    {pid, _ref} = subscriber(name, events: [[:domain, :escalated]])
    assert subscriptions_of(name) == 1
    Process.unlink(pid)
    Process.exit(pid, :kill)
    wait_until(fn -> subscriptions_of(name) == 0 end)
  end

  test "unsubscribing empties the mailbox, and leaves the other subscriptions of that process alone", %{instance: name} do
    {:ok, first} = Telemetry.subscribe(name)
    {:ok, second} = Telemetry.subscribe(name)
    stopped(name, 1)
    assert :ok = Telemetry.unsubscribe(first)
    assert :ok = Telemetry.unsubscribe(first)
    stopped(name, 2)
    refute_received {:kantoku_event, ^first, _, _, _}
    assert [1, 2] = ids(Telemetry.take(second, 10, 1_000))
  end

  test "a stream takes events as they come and ends after a time without any", %{instance: name} do
    {:ok, ref} = Telemetry.subscribe(name, buffer: 4)
    Enum.each(1..4, &stopped(name, &1))
    assert [1, 2] = ref |> Telemetry.stream() |> Enum.take(2) |> ids()
    assert [3, 4] = ref |> Telemetry.stream(0) |> Enum.to_list() |> ids()
  end

  test "every event of the catalogue is in the documentation, and its names, units and metadata are well formed" do
    for event <- Telemetry.events() do
      assert Enum.all?(event.name, &is_atom/1)
      assert Enum.uniq(Keyword.keys(event.measurements)) == Keyword.keys(event.measurements)

      assert Enum.all?(
               Keyword.values(event.measurements),
               &(&1 in ~w(native millisecond byte count revision unix_native)a)
             )

      assert Kantoku.Telemetry.Catalogue.table() =~ inspect([:kantoku | event.name])
    end
  end
end
