defmodule Kantoku.Pool.UsageTest do
  import Kantoku.PoolCase

  defmodule Reading do
    use ExUnit.Case, async: true

    alias Kantoku.Pool.Usage
    alias Kantoku.Pool.Usage.CPU

    @limits %{memory: 1_000, cpu: 50}

    # One scheduler, so many of a hundred parts of whose time it was busy.
    defp mark(workers, all, busy, total), do: %{workers: workers, all: all, schedulers: [{1, busy, total}]}

    test "workers have of the schedulers' time what they did of all that was done" do
      before = mark(%{self() => 100}, 1_000, 0, 0)
      assert CPU.between(before, mark(%{self() => 400}, 1_600, 80, 100), 1) == 40.0
      assert CPU.between(before, mark(%{self() => 100}, 1_600, 80, 100), 1) == 0.0
    end

    test "workers that were not asked are taken to be like the others, and never to have done more than all" do
      before = mark(%{self() => 0}, 0, 0, 0)
      assert CPU.between(before, mark(%{self() => 100}, 1_000, 100, 100), 4) == 40.0
      assert CPU.between(before, mark(%{self() => 100}, 1_000, 100, 100), 40) == 100.0
    end

    test "nothing is known without a worker in common, without time in between, or of schedulers that nobody times" do
      before = mark(%{self() => 0}, 0, 0, 0)
      assert CPU.between(before, mark(%{}, 1_000, 100, 100), 4) == nil
      assert CPU.between(before, before, 1) == nil
      assert CPU.between(before, %{before | schedulers: :undefined}, 1) == nil
      assert CPU.share(nil, [self()]) == nil
    end

    test "nobody is looked at where nothing is limited" do
      assert Usage.look(%Usage{}, %{memory: nil, cpu: nil}, [self()], 0) == %Usage{}
    end

    test "a look is asked for again when it was told, and half a second is over" do
      asked = Usage.look(%Usage{}, %{@limits | cpu: nil}, [self()], 0)
      assert_receive {:usage, %{workers: 1, memory: memory, cpu: nil} = reading} when memory > 0
      seen = Usage.seen(asked, reading, 10)
      assert Usage.look(seen, %{@limits | cpu: nil}, [self()], 509) == seen
      assert %{looker: looker} = Usage.look(seen, %{@limits | cpu: nil}, [self()], 510)
      assert is_pid(looker)
    end

    test "either may be too much, and what is not known is not" do
      usage = Usage.seen(%Usage{}, %{workers: 4, memory: 900, cpu: 40.0, mark: nil}, 0)
      assert Usage.over(usage, @limits, 0) == []
      assert Usage.over(%{usage | memory: 1_001}, @limits, 0) == [:memory]
      assert Usage.over(%{usage | cpu: 50.5}, @limits, 0) == [:cpu]
      assert Usage.over(%{usage | memory: nil, cpu: nil}, @limits, 0) == []
      assert Usage.over(%{usage | cpu: 99.0}, %{@limits | cpu: nil}, 0) == []
      assert Usage.each(usage, 5_000) == %{memory: 225.0, cpu: 10.0}
      assert Usage.each(usage, 5_001) == %{memory: nil, cpu: nil}
      assert Usage.over(%{usage | cpu: 50.5}, @limits, 5_000) == [:cpu]
      assert Usage.over(%{usage | cpu: 50.5}, @limits, 5_001) == []
      assert Usage.known(usage, %{@limits | memory: nil}) == %{memory: nil, cpu: 40.0}
    end
  end

  pools_on_each_engine Kantoku.Pool.UsageTest do
    # A request that computes until the gate is open.
    defp spin(gate), do: if(:atomics.get(gate, 1) == 0, do: spin(gate))

    test "what comes is refused while workers use more of the schedulers than they may, and let in after that" do
      pool = pool!(@engine, target: 2, codel: false, quotas: [cpu: 0.5])
      assert %{used: %{memory: nil}} = status(pool)
      gate = :atomics.new(1, [])
      spinning = Task.async(fn -> Pool.call(pool, {:run, fn -> spin(gate) end}, timeout: 60_000) end)
      eventually(fn -> match?({:error, %Error{reason: :quota}}, Pool.call(pool, :pid)) end)
      assert Kantoku.Backpressure.available(pool) == {:ok, 0}
      assert %{used: %{cpu: cpu}} = status(pool)
      assert cpu > 0.5
      :atomics.put(gate, 1, 1)
      assert Task.await(spinning) == {:ok, nil}
      eventually(fn -> match?({:ok, _pid}, Pool.call(pool, :pid)) end)
      :ok = Pool.update(pool, quotas: [])
      assert %{used: %{memory: nil, cpu: nil}} = status(pool)
    end

    test "the successor of a foreman that was killed measures anew" do
      {instance, name} = pool = pool!(@engine, target: 2, codel: false, quotas: [cpu: 0.5, memory: 1_000_000_000])
      {_rows, book} = Kantoku.Instances.tables!(instance)
      gate = :atomics.new(1, [])
      spinning = Task.async(fn -> Pool.call(pool, {:run, fn -> spin(gate) end}, timeout: 60_000) end)
      refused = fn -> match?({:error, %Error{reason: :quota}}, Pool.call(pool, :pid)) end
      eventually(refused)
      kill(Pool.Notes.foreman(book, name))
      # Whoever answers this has told the engine what it knows, and that is nothing yet.
      eventually(fn -> Pool.update(pool, max_queue: 999) == :ok end)
      eventually(refused)
      assert %{used: %{memory: bytes}} = status(pool)
      assert bytes in 1..999_999_999
      :atomics.put(gate, 1, 1)
      assert Task.await(spinning) == {:ok, nil}
    end
  end
end
