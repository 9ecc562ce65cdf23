defmodule Kantoku.FuseTest do
  use ExUnit.Case, async: true
  import Kantoku.TestOwner, only: [eventually: 1]
  alias Kantoku.Fuse
  alias Kantoku.Fuse.{Events, Stats}

  doctest Kantoku.Fuse

  @options {{:standard, 2, 60_000}, {:reset, 60_000}}

  defmodule Handler do
    @behaviour :gen_event
    @impl true
    def init({test, name}), do: {:ok, {test, name}}
    @impl true
    def handle_event({name, _what} = event, {test, name} = state), do: {send(test, event) && :ok, state}
    def handle_event(_other, state), do: {:ok, state}
    @impl true
    def handle_call(_request, state), do: {:ok, :ok, state}
  end

  defp fuse!(options \\ @options) do
    name = make_ref()
    :ok = Fuse.install(name, options)
    name
  end

  defp melt(name, times), do: for(_ <- 1..times, do: :ok = Fuse.melt(name))
  defp asked(name), do: for(context <- [:sync, :async_dirty], do: Fuse.ask(name, context))

  test "it is blown by one melt more than it may have, and whole when it is reset" do
    name = fuse!()
    melt(name, 2)
    assert asked(name) == [:ok, :ok]
    melt(name, 1)
    assert asked(name) == [:blown, :blown]
    assert Fuse.reset(name) == :ok
    assert asked(name) == [:ok, :ok]
    assert Stats.counters(name) == [ok: 4, blown: 2, melt: 3]
  end

  test "melts that are long ago do not count" do
    name = fuse!({{:standard, 1, 20}, {:reset, 60_000}})
    melt(name, 1)
    Process.sleep(25)
    melt(name, 1)
    assert asked(name) == [:ok, :ok]
    never = fuse!({{:standard, 0, 0}, {:reset, 60_000}})
    melt(never, 5)
    assert asked(never) == [:ok, :ok]
  end

  test "it heals by itself, and not by a timer that was given up" do
    name = fuse!({{:standard, 0, 60_000}, {:reset, 500}})
    melt(name, 1)
    assert Fuse.ask(name, :sync) == :blown
    assert Fuse.reset(name) == :ok
    melt(name, 1)
    assert eventually(fn -> Fuse.ask(name, :sync) == :ok end)
    assert Fuse.install(name, {{:standard, 0, 60_000}, {:reset, 60_000}}) == :ok
    melt(name, 1)
    Process.sleep(550)
    assert Fuse.ask(name, :sync) == :blown
  end

  test "run asks, and melts where it is told to" do
    name = fuse!({{:standard, 0, 60_000}, {:reset, 60_000}})
    assert Fuse.run(name, fn -> {:ok, 1} end, :sync) == {:ok, 1}
    assert Fuse.run(name, fn -> {:melt, 2} end, :async_dirty) == {:ok, 2}
    assert Fuse.run(name, fn -> {:ok, 3} end, :sync) == :blown
    assert Fuse.run(:no_fuse, fn -> {:ok, 3} end, :sync) == {:error, :not_found}
  end

  test "a disabled circuit is blown whatever is done, and whole when it is enabled" do
    name = fuse!()
    assert Fuse.circuit_disable(name) == :ok
    assert Fuse.circuit_disable(name) == :ok
    assert Fuse.reset(name) == :ok
    melt(name, 3)
    assert Fuse.install(name, @options) == :ok
    assert asked(name) == [:blown, :blown]
    assert Fuse.circuit_enable(name) == :ok
    assert Fuse.circuit_enable(name) == :ok
    assert asked(name) == [:ok, :ok]
    melt(name, 2)
    assert asked(name) == [:ok, :ok]
  end

  test "faults are injected at a rate" do
    name = fuse!({{:fault_injection, 0.25, 5, 60_000}, {:reset, 60_000}})
    answers = for _ <- 1..4_000, do: Fuse.ask(name, :async_dirty)
    assert Enum.count(answers, &(&1 == :blown)) in 800..1_200
    melt(name, 6)
    assert asked(name) == [:blown, :blown]
  end

  test "handlers hear of each change" do
    name = make_ref()
    :ok = Events.add_handler({Handler, name}, {self(), name})
    :ok = Fuse.install(name, {{:standard, 0, 60_000}, {:reset, 60_000}})
    melt(name, 1)
    :ok = Fuse.reset(name)
    :ok = Fuse.remove(name)
    for what <- [:ok, :blown, :ok, :removed], do: assert_receive({^name, ^what})
    Events.delete_handler({Handler, name}, [])
  end

  test "what is removed is not there, and begins anew" do
    name = fuse!()
    melt(name, 3)
    assert Fuse.remove(name) == :ok
    assert Fuse.melt(name) == :ok
    not_found = {:error, :not_found}
    assert asked(name) == [not_found, not_found]
    for call <- [:remove, :reset, :circuit_enable, :circuit_disable], do: assert(apply(Fuse, call, [name]) == not_found)
    assert_raise ArgumentError, fn -> Stats.counters(name) end
    assert Fuse.install(name, @options) == :ok
    assert Stats.counters(name) == [ok: 0, blown: 0, melt: 0]
  end

  test "bad options are refused" do
    for options <- [
          :standard,
          {{:standard, -1, 1}, {:reset, 1}},
          {{:standard, 1, 1}, {:reset, -1}},
          {{:fault_injection, 0.0, 1, 1}, {:reset, 1}},
          {{:fault_injection, 1, 1, 1}, {:reset, 1}},
          {{:fault_injection, 0.5, 0, 1}, {:reset, 1}}
        ] do
      assert_raise ArgumentError, fn -> Fuse.install(:bad, options) end
    end
  end

  test "a fuse that is found blown has an alarm, until it was found whole three times" do
    alarms = fn -> self() |> tap(fn _ -> send(Fuse.Server, :look) end) |> then(fn _ -> Fuse.ask(:none, :sync) end) end
    name = fuse!({{:standard, 0, 60_000}, {:reset, 60_000}})
    assert alarms.() == {:error, :not_found}
    refute is_map_key(:sys.get_state(Fuse.Server).alarms, name)
    melt(name, 1)
    alarms.()
    assert :sys.get_state(Fuse.Server).alarms[name] == 3
    Fuse.reset(name)

    for left <- [2, 1, nil],
        do: assert({alarms.(), :sys.get_state(Fuse.Server).alarms[name]} == {{:error, :not_found}, left})
  end
end
