defmodule Kantoku.MemoryTest do
  use ExUnit.Case, async: true

  import Kantoku.InstanceCase, only: [start!: 1]
  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Breaker, Error, Memory, Metrics, Pool, Registry, Telemetry}

  # What fits into this is registered in no time, and it is more than an instance holds by itself.
  @registry 2_000_000

  defmodule Echo do
    use GenServer
    def start_link(_arg), do: GenServer.start_link(__MODULE__, nil)
    @impl true
    def init(nil), do: {:ok, nil}
  end

  # A process with as many names as are taken, and what it was refused with.
  defp holder(instance) do
    test = self()

    pid =
      spawn(fn ->
        send(test, {:refused, fill(instance, 1)})
        Process.sleep(:infinity)
      end)

    assert_receive {:refused, refusal}, 60_000
    {pid, refusal}
  end

  defp fill(instance, n) do
    case Registry.register(instance, {:name, n}, nil) do
      {:ok, _server} -> fill(instance, n + 1)
      {:error, error} -> error
    end
  end

  defp full?(instance, owner) do
    {:ok, %{^owner => %{full: full}}} = Memory.status(instance)
    full
  end

  defp start_agent(instance, id), do: Kantoku.start_agent(instance, {Agent, fn -> 0 end}, id: id)

  if Kantoku.Native.loaded?() do
    test "a registry at its limit refuses names and agents, and takes them again when there is room" do
      instance = start!(engine: :native, memory: [registry: @registry])
      {:ok, ref} = Telemetry.subscribe(instance, events: [[:memory]])
      {pid, refusal} = holder(instance)

      assert %Error{reason: :limit, details: %{owner: :registry, max_bytes: @registry}} = refusal
      assert Exception.message(refusal) =~ "raise registry in the option :memory"
      assert {:error, %Error{reason: :limit, details: %{owner: :registry}}} = start_agent(instance, "bob")
      assert {:ok, %{registry: %{bytes: bytes, max_bytes: @registry, full: true}}} = Memory.status(instance)
      assert bytes >= @registry
      assert_receive {:kantoku_event, ^ref, [:kantoku, :memory, :full], %{bytes: _}, %{owner: :registry}}, 30_000

      Process.exit(pid, :kill)
      eventually(fn -> not full?(instance, :registry) end)
      assert_receive {:kantoku_event, ^ref, [:kantoku, :memory, :freed], %{bytes: _}, %{owner: :registry}}, 30_000
      assert {:ok, _pid} = start_agent(instance, "bob")
      assert {:ok, _server} = Registry.register(instance, :mine, nil)
    end

    test "where there is no room a name that is taken is said to be taken, and what is there goes on" do
      instance = start!(engine: :native, memory: [registry: @registry])
      {:ok, ada} = start_agent(instance, "ada")
      {pid, _refusal} = holder(instance)

      assert {:error, {:already_registered, ^pid}} = Registry.register(instance, {:name, 1}, nil)
      name = fn key -> {:via, Registry, {instance, key}} end
      assert {:error, {:already_started, ^pid}} = GenServer.start(Echo, nil, name: name.({:name, 1}))
      assert {:error, _limit} = GenServer.start(Echo, nil, name: name.(:new))

      :ok = Registry.describe(instance, "ada", tags: [:writer])
      Process.exit(ada, :kill)
      eventually(fn -> Kantoku.whereis(instance, "ada") not in [ada, nil] end)
    end

    # So many that what is kept of its calls is some kilobytes.
    defp busy_breaker(instance, name) do
      {:ok, breaker} = Breaker.install(instance, name, sliding_window_size: 10_000)
      for _ <- 1..5_000, do: {:ok, :fine} = Breaker.run(breaker, fn -> :fine end)
      breaker
    end

    test "breakers and pools are refused at their limits, and those that are there may be changed" do
      instance = start!(engine: :native, memory: [breakers: 4_000, pools: 1], pools: [[name: :first, worker: Echo]])
      breaker = busy_breaker(instance, :first)
      eventually(fn -> full?(instance, :breakers) and full?(instance, :pools) end)

      assert {:error, %Error{reason: :limit, details: %{owner: :breakers}}} = Breaker.install(instance, :second)
      assert {:ok, ^breaker} = Breaker.install(instance, :first, sliding_window_size: 50)

      assert {:error, %Error{reason: :limit, details: %{owner: :pools}}} =
               Pool.start(instance, name: :second, worker: Echo)

      :ok = Pool.update({instance, :first}, target: 2)

      :ok = Breaker.remove(breaker)
      eventually(fn -> not full?(instance, :breakers) end)
      assert {:ok, _breaker} = Breaker.install(instance, :second)
    end

    test "who looks at it is killed, and limits hold" do
      instance = start!(engine: :native, memory: [breakers: 4_000])
      busy_breaker(instance, :first)
      eventually(fn -> full?(instance, :breakers) end)
      Kantoku.TestOwner.kill(watch(instance))
      assert {:error, %Error{reason: :limit}} = Breaker.install(instance, :second)
      :ok = Breaker.remove({instance, :first})
      eventually(fn -> match?({:ok, _breaker}, Breaker.install(instance, :second)) end)
    end

    defp watch(instance) do
      {_rows, book} = Kantoku.Instances.tables!(instance)
      :ets.lookup_element(book, :memory, 3)
    end

    test "limits are told beside what is held" do
      instance = start!(engine: :native, memory: [registry: @registry], trace: [max_queue_bytes: 100_000])
      assert limits(instance) == %{"registry" => @registry / 1, "metrics" => 16_777_216.0, "traces" => 100_000.0}
    end

    test "what breakers and pools hold is accounted" do
      instance = start!(engine: :native, pools: [[name: :first, worker: Echo]])
      eventually(fn -> held(instance, :pools) > 0 end)
      before = held(instance, :breakers)
      busy_breaker(instance, :large)
      assert held(instance, :breakers) - before > 4_000
    end

    defp held(instance, owner) do
      {:ok, %{^owner => %{bytes: bytes}}} = Memory.status(instance)
      bytes
    end
  end

  defp limits(instance) do
    {:ok, families} = Metrics.snapshot(instance)
    %{series: series} = Enum.find(families, &(&1.name == "kantoku_native_limit_bytes"))
    Map.new(series, fn %{labels: labels, value: value} -> {labels["owner"], value} end)
  end

  test "the Elixir engine holds no native memory, and refuses nothing" do
    instance = start!(engine: :elixir, memory: [registry: 1, breakers: 1])
    assert {:ok, _pid} = start_agent(instance, "ada")
    assert {:ok, _breaker} = Breaker.install(instance, :first)
    assert {:ok, %{registry: %{bytes: 0, max_bytes: 1, full: false}}} = Memory.status(instance)
    assert limits(instance)["registry"] == 1.0
  end

  test "an instance that does not run has none, and a bad limit is refused" do
    assert {:error, %Error{reason: :not_running}} = Memory.status(:nobody_of_that_name)

    for bad <- [0, -1, 1.5, "1 GB", nil] do
      error = assert_raise ArgumentError, fn -> Kantoku.Config.new!(name: :a, memory: [registry: bad]) end

      assert error.message =~
               "option :registry: expected a positive number of bytes, or :infinity, got: #{inspect(bad)}"
    end
  end
end
