import Kantoku.EachEngine

each_engine Kantoku.BreakerTest do
  import Kantoku.InstanceCase, only: [start!: 1]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.{Breaker, Error, TestOwner}
  alias Kantoku.Engine.Breakers

  # Opens at the second of two calls if both fail; is tried by one call.
  @quick [
    sliding_window_size: 2,
    minimum_number_of_calls: 2,
    failure_rate_threshold: 100,
    wait_duration_in_open_state: 60_000,
    permitted_number_of_calls_in_half_open_state: 1
  ]

  defp breaker!(opts \\ [], name \\ :api) do
    instance = start!(engine: @engine)
    {:ok, breaker} = Breaker.install(instance, name, Keyword.merge(@quick, opts))
    breaker
  end

  defp status(breaker) do
    {:ok, status} = Breaker.status(breaker)
    status
  end

  defp state(breaker), do: status(breaker).state
  defp fail(breaker, times), do: for(_ <- 1..times, do: :ok = Breaker.record(breaker, :error))
  defp until(breaker, state), do: eventually(fn -> state(breaker) == state end)

  test "defaults are resilience4j's" do
    {:ok, breaker} = Breaker.install(start!(engine: @engine), :api)
    fail(breaker, 49)
    for _ <- 1..50, do: Breaker.record(breaker, :ok)
    assert %{state: :closed, calls: 99, failure_rate: nil} = status(breaker)
    fail(breaker, 1)
    assert %{state: :open, calls: 100, failed: 50, retry_in: ms} = status(breaker)
    assert ms in 1..60_000
  end

  test "run answers the result, counts failures, and refuses with the time to come again when it is open" do
    breaker = breaker!()
    assert Breaker.run(breaker, fn -> 7 end) == {:ok, 7}
    assert Breaker.run(breaker, fn -> {:error, :down} end) == {:ok, {:error, :down}}
    assert_raise RuntimeError, "down", fn -> Breaker.run(breaker, fn -> raise "down" end) end

    assert {:error, %Error{reason: :breaker_open, details: %{breaker: ^breaker, retry_in: ms}} = error} =
             Breaker.run(breaker, fn -> 7 end)

    assert ms in 1..60_000
    assert Exception.message(error) =~ "breaker :api of"
    refute Breaker.allow?(breaker)
    assert status(breaker).refused == 2
  end

  test "a fallback is run for what was refused and for what was raised, not for results" do
    breaker = breaker!()
    why = fn error -> {:instead, error.__struct__} end
    assert Breaker.run(breaker, fn -> :error end, fallback: why) == {:ok, :error}
    assert Breaker.run(breaker, fn -> exit(:gone) end, fallback: why) == {:ok, {:instead, ErlangError}}
    assert Breaker.run(breaker, fn -> 7 end, fallback: why) == {:ok, {:instead, Error}}
    assert_raise ArgumentError, ~r/fallback/, fn -> Breaker.run(breaker, fn -> 7 end, fallback: 7) end
  end

  test "what counts as a failure may be said" do
    breaker = breaker!()
    for _ <- 1..4, do: Breaker.run(breaker, fn -> {:error, :not_found} end, failure?: &(&1 == :timeout))
    assert state(breaker) == :closed
    for _ <- 1..2, do: Breaker.run(breaker, fn -> :timeout end, failure?: &(&1 == :timeout))
    assert state(breaker) == :open
  end

  test "slow calls open it, too" do
    breaker = breaker!(slow_call_duration_threshold: 5)
    assert {:ok, _} = Breaker.run(breaker, fn -> Process.sleep(7) end)
    Breaker.record(breaker, :ok, 6)
    assert %{state: :open, slow: 2, failed: 0, slow_call_rate: 100.0} = status(breaker)
  end

  test "after its wait one call tries, and closes it or opens it again" do
    breaker = breaker!(wait_duration_in_open_state: 20)
    fail(breaker, 2)
    assert eventually(fn -> match?({:ok, _}, Breaker.run(breaker, fn -> :error end)) end)
    assert state(breaker) == :open
    assert eventually(fn -> match?({:ok, _}, Breaker.run(breaker, fn -> :fine end)) end)
    assert %{state: :closed, calls: 0} = status(breaker)
  end

  test "no more than are permitted try at once, and who dies gives its permit back" do
    breaker = breaker!(permitted_number_of_calls_in_half_open_state: 2)
    Breaker.set(breaker, :half_open)
    owner = TestOwner.start()
    assert {:ok, _ticket} = TestOwner.run(owner, fn -> Breaker.acquire(breaker) end)
    assert Breaker.allow?(breaker)
    assert {:error, %Error{reason: :breaker_open, details: %{retry_in: 6_000}}} = Breaker.acquire(breaker)
    assert %{permits: 0, trying: 2} = status(breaker)
    kill(owner)
    assert eventually(fn -> status(breaker).trying == 1 end)
    assert Breaker.allow?(breaker)
    for _ <- 1..2, do: Breaker.record(breaker, :ok)
    assert state(breaker) == :closed
  end

  test "what was let pass before a change of state says nothing after it" do
    breaker = breaker!()
    {:ok, before} = Breaker.acquire(breaker)
    Breaker.set(breaker, :half_open)
    {:ok, trial} = Breaker.acquire(breaker)
    assert Breaker.record(breaker, :ok, 1, before) == :ok
    assert state(breaker) == :half_open
    assert Breaker.record(breaker, :ignore, 1, trial) == :ok
    assert %{permits: 1, trying: 0} = status(breaker)
    assert Breaker.record(breaker, :ok, 1, trial) == :ok
    assert state(breaker) == :half_open
  end

  test "it moves by itself where it is told to" do
    breaker =
      breaker!(
        wait_duration_in_open_state: 20,
        automatic_transition_from_open_to_half_open_enabled: true,
        max_wait_duration_in_half_open_state: 30
      )

    {:ok, ref} = Kantoku.subscribe(elem(breaker, 0), events: [[:breaker]])
    fail(breaker, 2)

    for {from, to} <- [closed: :open, open: :half_open, half_open: :open] do
      assert_receive {:kantoku_event, ^ref, [:kantoku, :breaker, :state_changed], _,
                      %{from: ^from, to: ^to, breaker: :api}}
    end
  end

  test "who wakes it is told how long that is to wait, by whatever clock the engine has" do
    {instance, name} =
      breaker = breaker!(wait_duration_in_open_state: 60_000, automatic_transition_from_open_to_half_open_enabled: true)

    assert Breakers.breaker_ask(instance, name, :look, nil) == nil
    fail(breaker, 2)
    assert Breakers.breaker_ask(instance, name, :look, nil) in 1..60_000_000_000
  end

  test "each change of state is one event" do
    {instance, _name} = breaker = breaker!()
    {:ok, ref} = Kantoku.subscribe(instance, events: [[:breaker]])
    fail(breaker, 4)
    Breaker.reset(breaker)

    assert [
             {_, _, _, %{calls: 2, failed: 2, slow: 0}, %{instance: ^instance, from: :closed, to: :open}},
             {_, _, _, _, %{from: :open, to: :closed}}
           ] = Kantoku.Telemetry.take(ref, 5, 1_000)
  end

  test "states that it is put into stay, and are passed or not" do
    breaker = breaker!()

    for {state, passes?} <- [disabled: true, metrics_only: true, forced_open: false] do
      assert Breaker.set(breaker, state) == :ok
      fail(breaker, 3)
      assert {state(breaker), Breaker.allow?(breaker)} == {state, passes?}
    end

    assert {:error, %Error{details: %{retry_in: :never}} = error} = Breaker.acquire(breaker)
    assert Exception.message(error) =~ "forced open"
    assert_raise ArgumentError, fn -> Breaker.set(breaker, :ajar) end
  end

  test "options change while it runs" do
    breaker = breaker!(wait_duration_in_open_state: 60_000)
    fail(breaker, 1)
    assert Breaker.configure(breaker, failure_rate_threshold: 40) == :ok
    assert status(breaker).calls == 1
    Breaker.record(breaker, :ok)
    assert state(breaker) == :open
    assert Breaker.configure(breaker, wait_duration_in_open_state: 1) == :ok
    assert eventually(fn -> Breaker.allow?(breaker) end)

    assert_raise ArgumentError, ~r/breaker :api, option :failure_rate_threshold/, fn ->
      Breaker.configure(breaker, failure_rate_threshold: 101)
    end

    assert_raise ArgumentError, ~r/at most 100000/, fn -> Breaker.configure(breaker, sliding_window_size: 100_001) end
    assert_raise ArgumentError, ~r/unknown option/, fn -> Breaker.install(elem(breaker, 0), :other, size: 1) end
  end

  test "any term is a name, and each breaker is its own" do
    instance = start!(engine: @engine)
    names = [:a, "a", 1, 1.0, {:agent, "a"}, self(), make_ref(), %{}, [], String.duplicate("long", 200)]
    breakers = for name <- names, do: elem(Breaker.install(instance, name, @quick), 1)
    for {breaker, index} <- Enum.with_index(breakers), rem(index, 2) == 0, do: fail(breaker, 2)

    assert for(breaker <- breakers, do: state(breaker)) ==
             for(i <- 0..9, do: if(rem(i, 2) == 0, do: :open, else: :closed))

    assert {:ok, known} = Breaker.names(instance)
    assert Enum.sort(known) == Enum.sort(names)
  end

  test "without a breaker or an instance there are errors" do
    {instance, _name} = breaker = breaker!()
    assert Breaker.remove(breaker) == :ok

    assert {:error, %Error{reason: :not_found, details: %{breaker: ^breaker}} = error} =
             Breaker.run(breaker, fn -> 1 end)

    assert Exception.message(error) =~ "install"

    for call <- [&Breaker.status/1, &Breaker.remove/1, &Breaker.acquire/1, &Breaker.reset/1, &Breaker.record(&1, :ok)],
        do: assert({:error, %Error{reason: :not_found}} = call.({instance, :none}))

    assert_raise Error, fn -> Breaker.allow?({instance, :none}) end
    assert {:error, %Error{reason: :not_running}} = Breaker.acquire({:no_such_instance, :api})
    assert {:error, %Error{reason: :not_running}} = Breaker.install(:no_such_instance, :api)
  end

  test "breakers may be part of an instance, and outlive its registry with what they were told" do
    instance = start!(engine: @engine, breakers: [[name: "api"] ++ @quick, [name: :other]])
    breaker = {instance, "api"}
    assert Breaker.set(breaker, :forced_open) == :ok
    assert Breaker.allow?({instance, :other})
    before = Process.whereis(instance)
    kill(before)

    assert eventually(fn ->
             Process.whereis(instance) not in [nil, before] and match?({:ok, _}, Breaker.status(breaker))
           end)

    assert state(breaker) == :forced_open
    assert_raise ArgumentError, ~r/:breakers.*name/, fn -> Kantoku.start_link(name: :never, breakers: [[]]) end

    assert_raise ArgumentError, ~r/each breaker once/, fn ->
      Kantoku.start_link(name: :never, breakers: [[name: 1], [name: 1]])
    end
  end

  test "a clerk that is killed has a successor that knows all of it" do
    {instance, _name} = breaker = breaker!()
    fail(breaker, 2)
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    before = Breaker.Notes.clerk(book)
    kill(before)
    assert eventually(fn -> Breaker.Notes.clerk(book) != before end)
    assert %{failed: 2} = status(breaker)
    until(breaker, :open)
  end

  test "many at once: it opens once, and of trials there are as many as permitted" do
    breaker =
      breaker!(
        permitted_number_of_calls_in_half_open_state: 3,
        wait_duration_in_open_state: 1,
        minimum_number_of_calls: 3,
        sliding_window_size: 3
      )

    for _ <- 1..20 do
      Breaker.set(breaker, :half_open)
      test = self()

      acquire = fn ->
        acquired = Breaker.acquire(breaker)
        send(test, :asked)
        receive do: (:end -> acquired)
      end

      tasks = for _ <- 1..16, do: Task.async(acquire)
      # All have, before one ends and its permit comes back.
      for _ <- tasks, do: assert_receive(:asked)
      assert %{trying: 3, permits: 0} = status(breaker)
      for task <- tasks, do: send(task.pid, :end)
      assert 3 == tasks |> Task.await_many() |> Enum.count(&match?({:ok, _}, &1))
    end
  end
end
