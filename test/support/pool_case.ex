defmodule Kantoku.PoolCase do
  @moduledoc """
  A test on an instance of its own that has a pool; each suite runs on every engine that keeps pools.

      pools_on_each_engine Kantoku.Pool.CallTest do
        test "...", do: pool = pool!(@engine, target: 2)
      end
  """
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Engine, Pool, TestWorker}

  # Those that keep pools.
  @engines [:native, :elixir]

  @doc "The engines on which pools are tested."
  def engines, do: @engines

  defmacro pools_on_each_engine(name, do: block) do
    for engine <- @engines do
      module = Module.concat(Macro.expand(name, __CALLER__), "#{Macro.camelize("#{engine}")}Engine")

      quote do
        defmodule unquote(module) do
          use ExUnit.Case, async: true
          import Kantoku.PoolCase
          import Kantoku.TestOwner, only: [eventually: 1, kill: 1]
          alias Kantoku.{Engine, Error, Pool, TestOwner, TestWorker}
          @engine unquote(engine)
          @moduletag engine: @engine
          unquote(block)
        end
      end
    end
  end

  @doc "Starts an instance with nothing in it, to which it does not matter how busy this machine is; its name."
  def instance!(engine, opts \\ []) do
    own = [name: name(), engine: engine, domains: [[name: :default, partitions: 2]], degradation: false]
    opts = Keyword.merge(own, opts)
    ExUnit.Callbacks.start_supervised!({Kantoku, opts}, id: opts[:name])
    opts[:name]
  end

  defp name, do: :"pools_#{System.unique_integer([:positive])}"

  @doc "Starts an instance with a pool of test workers that tell the test of their starts; the pool. With `pulls: true` they pull."
  def pool!(engine, opts \\ [], worker \\ []) do
    pool = {name(), :workers}
    worker = if worker[:pulls], do: Keyword.put(worker, :pulls, pool), else: Keyword.delete(worker, :pulls)
    {instance!(engine, name: elem(pool, 0), pools: [options(opts, worker)]), :workers}
  end

  @doc "The options of such a pool."
  def options(opts \\ [], worker \\ []) do
    own = [name: :workers, worker: worker(worker), target: 1, domain: [partitions: 2, backoff: [base: 1, cap: 10]]]
    Keyword.merge(own, opts)
  end

  @doc "A test worker as a pool's `:worker`."
  def worker(opts \\ []), do: {TestWorker, [tell: self()] ++ opts}

  @doc "A pool's status."
  def status({_instance, _name} = pool) do
    {:ok, status} = Pool.status(pool)
    status
  end

  @doc "The pids of a pool's workers, by number."
  def pids(pool) do
    {:ok, workers} = Pool.workers(pool)
    for %{pid: pid} <- workers, pid, do: pid
  end

  @doc "Waits until a pool's status has all these values."
  def until(pool, values) do
    eventually(fn -> match_all?(Pool.status(pool), values) end)
  rescue
    RuntimeError -> raise "waited for #{inspect(values)}, last seen: #{inspect(Pool.status(pool))}"
  end

  defp match_all?({:ok, status}, values), do: Enum.all?(values, fn {key, value} -> status[key] == value end)
  defp match_all?(_error, _values), do: false

  @doc "Waits until nothing is going on in a pool, and every permit of its workers is free."
  def settled(pool, workers, max_ongoing \\ 1),
    do: until(pool, queue: 0, ongoing: 0, abandoned: 0, ready: workers, leaving: 0, free: workers * max_ongoing)

  @doc "A request that keeps a worker until `release/1`, and tells the test that it has begun."
  def hold(test \\ self(), ref \\ make_ref()) do
    {ref,
     {:run,
      fn ->
        send(test, {:begun, ref, self()})
        receive do: ({:release, ^ref} -> ref)
      end}}
  end

  @doc "The worker at which a held request has begun."
  def begun(ref) do
    receive do
      {:begun, ^ref, worker} -> worker
    after
      5_000 -> raise "the request did not begin"
    end
  end

  @doc "Lets the worker of a held request go on."
  def release(worker, ref), do: send(worker, {:release, ref})

  @doc "Calls a pool from a process of its own; its task."
  def call_async(pool, request, opts \\ []), do: Task.async(fn -> Pool.call(pool, request, opts) end)

  @doc "How many workers live, of those that told the calling test of their start."
  def living_workers do
    {:messages, messages} = Process.info(self(), :messages)
    Enum.count(messages, &(match?({:started, _, _}, &1) and Process.alive?(elem(&1, 2))))
  end

  @doc "The pool's foreman."
  def foreman({instance, name}) do
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    Pool.Notes.foreman(book, name)
  end

  @doc "The engine's own answer."
  def engine_status({instance, name}), do: Engine.Pools.pool_status(instance, name)
end
