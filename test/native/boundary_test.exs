defmodule Kantoku.NativeTest do
  use ExUnit.Case, async: true

  alias Kantoku.{Lives, Native, OtherVM}

  # Of the module itself, without a counterpart in the library.
  @own [load: 0, status: 0, loaded?: 0, module_info: 0, module_info: 1, __info__: 1, behaviour_info: 1]

  test "every stub has its function in the library, and every function its stub" do
    stubs = Native.module_info(:exports) -- @own
    assert Enum.sort(stubs) == Enum.sort(Native.functions())
  end

  test "every function of the engine's contract is there" do
    for {name, arity} <- Kantoku.Engine.behaviour_info(:callbacks), do: assert(function_exported?(Native, name, arity))
  end

  test "instances are independent" do
    [one, two] = instances = for n <- 1..2, do: :"#{__MODULE__}.#{n}"
    for instance <- instances, do: open(instance)
    assert {:link, _} = Native.register(one, :key, :of_one)
    assert {:link, _} = Native.register(two, :key, :of_two)
    assert [{_, :of_one}] = Native.lookup(one, :key)
    :ok = Native.close(one)
    assert :unknown = Native.lookup(one, :key)
    assert [{_, :of_two}] = Native.lookup(two, :key)
  end

  test "keys of every width are each other's no more than their own, and read back as they were" do
    instance = open(:"#{__MODULE__}.widths")
    near = for bits <- 0..70, off <- -2..2, sign <- [-1, 1], do: sign * (Bitwise.bsl(1, bits) + off)
    binaries = for size <- Enum.concat(0..40, 250..330), do: :binary.copy("k", size)
    keys = Enum.uniq(near) ++ binaries
    all = Enum.shuffle(keys ++ Enum.map(keys, &{:agent, &1}) ++ Enum.map(keys, &{&1, {&1}}))
    for key <- all, do: assert(elem(Native.register(instance, key, nil), 0) in [:link, :ok])
    for key <- all, do: assert(Native.whereis(instance, key) == self())
    assert Native.keys(instance, self()) == all
    for key <- all, do: Native.unregister(instance, key)
    assert Native.keys(instance, self()) == []
  end

  test "nothing is registered before the partitions are seated" do
    instance = :"#{__MODULE__}.unseated"
    :ok = Native.open(instance, :unique, 1, [])
    assert Native.register(instance, :key, 1) == :unknown
    assert Native.lookup(instance, :key) == []
    :ok = Native.seat(instance, 0, self())
    assert {:link, _} = Native.register(instance, :key, 1)
  end

  test "an instance is its holder's: open while that lives, taken over when it is dead" do
    instance = :"#{__MODULE__}.held"
    holder = Kantoku.TestOwner.start(fn -> Native.open(instance, :unique, 1, []) end)
    assert {:error, {:already_started, ^holder}} = Native.open(instance, :unique, 1, [])
    ref = Process.monitor(holder)
    Process.exit(holder, :kill)
    assert_receive {:DOWN, ^ref, _, _, _}
    assert :ok = Native.open(instance, :duplicate, 1, [])
    assert :duplicate = Native.whereis(instance, :key)
  end

  test "what an instance held is given back to the last byte, however many come and go" do
    vm = OtherVM.start()
    assert {base, base, rss_before, rss_after} = OtherVM.run(vm, {Lives, :come_and_go, [500, 2_000]}, 120_000)
    assert rss_after - rss_before < 8 * 1024 * 1024
    OtherVM.stop(vm)
  end

  test "a process that owns many names holds no scheduler when it dies" do
    instance = :"#{__MODULE__}.many"
    open(instance)
    parent = self()

    owner =
      spawn(fn ->
        for key <- 1..100_000, do: Native.register(instance, key, nil)
        send(parent, :registered)
        Process.sleep(:infinity)
      end)

    assert_receive :registered, 30_000
    ref = Process.monitor(owner)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^ref, _, _, _}
    assert Native.whereis(instance, 77_777) == :undefined
    assert Native.lookup(instance, 3) == []
    assert eventually(fn -> Native.stats(instance).entries == 0 end)
  end

  test "what is too much for a scheduler is answered all the same" do
    [unique, duplicate] = for kind <- [:unique, :duplicate], do: open(:"#{__MODULE__}.much.#{kind}", kind)
    many = Enum.to_list(1..1_000)

    for n <- many do
      {:ok, _} = Native.introduce(unique, n, self(), nil, %{}, [{:tag, "much"}])
      Native.register(duplicate, :topic, n)
    end

    all = {[{:tag, "much"}], [], [], :started_at, :infinity}
    assert Native.keys(unique, self()) == many
    assert for({key, _pid} <- Native.find_pids(unique, all), do: key) == many
    assert length(Native.find(unique, all)) == 1_000
    assert Native.count(unique, all) == 1_000
    assert {:ok, _ref, records} = Native.watch(unique, all, self())
    assert length(records) == 1_000
    assert for({_pid, value} <- Native.lookup(duplicate, :topic), do: value) == many
    assert for({_incarnation, value} <- Native.own(duplicate, :topic, self()), do: value) == many
  end

  describe "a library that cannot load" do
    test "is told with what to do, and the Elixir engine serves" do
      for {bytes, expected} <- [
            {"no library at all", ~r/architecture|did not load/},
            {elf(0xB7), ~r/architecture|did not load/}
          ] do
        path = Path.join(System.tmp_dir!(), "kantoku-#{System.unique_integer([:positive])}.so")
        File.write!(path, bytes)
        vm = OtherVM.start({:persistent_term, :put, [{Native, :library}, path]})
        assert {:error, sentence} = OtherVM.run(vm, {Native, :status, []})
        assert sentence =~ expected and sentence =~ "The Elixir engine serves"
        assert OtherVM.run(vm, {Lives, :serves?, []})
        OtherVM.stop(vm)
        File.rm!(path)
      end
    end
  end

  # A header of an ELF library for another machine.
  defp elf(machine), do: <<0x7F, "ELF", 2, 1, 1, 0::72, 3::little-16, machine::little-16, 1::little-32, 0::size(344)>>

  defp open(instance, kind \\ :unique) do
    :ok = Native.open(instance, kind, 1, [])
    :ok = Native.seat(instance, 0, self())
    instance
  end

  defp eventually(condition, left \\ 400) do
    cond do
      condition.() -> true
      left == 0 -> false
      true -> Process.sleep(25) && eventually(condition, left - 1)
    end
  end
end
