import Kantoku.PoolCase, only: [pools_on_each_engine: 2]

pools_on_each_engine Kantoku.Pool.BreakerTest do
  alias Kantoku.Breaker

  @breaker [
    sliding_window_size: 2,
    minimum_number_of_calls: 2,
    failure_rate_threshold: 100,
    wait_duration_in_open_state: 60_000,
    permitted_number_of_calls_in_half_open_state: 1
  ]

  defp guarded!(opts \\ []), do: pool!(@engine, Keyword.merge([target: 2, breaker: @breaker], opts))
  defp breaker({instance, name}), do: {instance, {:pool, name}}

  defp counts(pool) do
    {:ok, status} = Breaker.status(breaker(pool))
    Map.take(status, [:state, :calls, :failed])
  end

  test "it refuses what is asked of the pool while too much fails, and says when to come again" do
    pool = guarded!()
    assert {:ok, :fine} = Pool.call(pool, {:run, fn -> :fine end})
    assert {:error, %Error{reason: :crashed}} = Pool.call(pool, {:run, fn -> Process.exit(self(), :kill) end})
    {ref, held} = hold()
    assert {:error, %Error{reason: :timeout}} = Pool.call(pool, held, timeout: 1)

    for refused <- [
          Pool.call(pool, {:run, fn -> :fine end}),
          Pool.cast(pool, :any),
          Pool.checkout(pool),
          Pool.run(pool, fn _worker -> :fine end)
        ] do
      assert {:error, %Error{reason: :breaker_open, details: %{pool: ^pool, retry_in: ms}} = error} = refused
      assert ms in 1..60_000
      assert Exception.message(error) =~ "the breaker of pool :workers of"
    end

    release(begun(ref), ref)
    settled(pool, 2)
    assert :ok = Pool.update(pool, breaker: [wait_duration_in_open_state: 1])
    assert eventually(fn -> Pool.call(pool, {:run, fn -> :back end}) == {:ok, :back} end)
    assert counts(pool).state == :closed
  end

  test "what is handed in as an error has failed, and so has what raises; refusals and casts are nothing" do
    pool = guarded!(target: 1, max_queue: 0)
    {:ok, lease} = Pool.checkout(pool)
    assert {:error, %Error{reason: :queue_full}} = Pool.call(pool, :any)
    assert :ok = Pool.checkin(lease, :error)
    assert {:error, %Error{reason: :not_held}} = Pool.checkin(lease)
    assert counts(pool) == %{state: :closed, calls: 1, failed: 1}
    assert :ok = Pool.cast(pool, :any)
    settled(pool, 1)
    assert counts(pool).calls == 1
    assert_raise ArgumentError, fn -> Pool.call(pool, :any, timeout: :soon) end
    assert catch_throw(Pool.run(pool, fn _worker -> throw(:away) end)) == :away
    assert counts(pool) == %{state: :open, calls: 2, failed: 2}
  end

  test "whoever dies at a trial gives the permit back" do
    pool = guarded!()
    :ok = Breaker.set(breaker(pool), :half_open)
    holder = TestOwner.start(fn -> Pool.checkout(pool) end)
    assert {:error, %Error{reason: :breaker_open}} = Pool.call(pool, {:run, fn -> :fine end})
    kill(holder)
    assert eventually(fn -> Pool.call(pool, {:run, fn -> :fine end}) == {:ok, :fine} end)
    assert counts(pool).state == :closed
  end

  test "it comes, changes and goes with the pool's options" do
    {instance, _name} = pool = pool!(@engine)
    assert {:error, %Error{reason: :not_found}} = Breaker.status(breaker(pool))
    assert :ok = Pool.update(pool, breaker: @breaker)
    :ok = Breaker.set(breaker(pool), :forced_open)
    assert {:error, %Error{reason: :breaker_open, details: %{retry_in: :never}}} = Pool.call(pool, :any)
    assert :ok = Pool.update(pool, breaker: [wait_duration_in_open_state: 1])
    assert counts(pool).state == :forced_open

    assert_raise ArgumentError, ~r/wait_duration_in_open_state/, fn ->
      Pool.update(pool, breaker: [wait_duration_in_open_state: 0])
    end

    assert :ok = Pool.update(pool, breaker: nil)
    assert {:ok, :fine} = Pool.call(pool, {:run, fn -> :fine end})
    assert Breaker.names(instance) == {:ok, []}
    assert :ok = Pool.update(pool, breaker: @breaker)
    assert {:ok, _report} = Pool.stop(pool)
    assert Breaker.names(instance) == {:ok, []}
    assert {:error, %Error{reason: :not_found}} = Pool.call(pool, :any)
  end
end
