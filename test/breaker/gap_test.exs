import Kantoku.EachEngine

each_engine Kantoku.Breaker.GapTest do
  # A gap in our own clock, by simulated time: whoever beats is late.
  alias Kantoku.Engine
  alias Kantoku.Engine.Breakers

  @ms 1_000_000
  @config %{
    failure_rate_threshold: 50_000_000,
    slow_call_rate_threshold: 50_000_000,
    slow_call_duration_threshold: 1_000,
    sliding_window_type: :count_based,
    sliding_window_size: 2,
    minimum_number_of_calls: 2,
    wait_duration_in_open_state: 10_000,
    permitted_number_of_calls_in_half_open_state: 1,
    max_wait_duration_in_half_open_state: 0,
    automatic_transition_from_open_to_half_open_enabled: false
  }

  setup %{test: test} do
    instance = :"#{test} #{@engine}"
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    on_exit(fn -> Engine.close(instance) end)
    %{instance: instance}
  end

  defp open(instance, changes \\ []) do
    :ok = Breakers.breaker_open(instance, :b, Map.merge(@config, Map.new(changes)), 0)
    0 = beat(instance, 0)
  end

  defp beat(instance, ms), do: div(Breakers.breaker_beat(instance, ms * @ms), @ms)

  defp ask(instance, command, ms) do
    case Breakers.breaker_ask(instance, :b, command, ms * @ms) do
      {:changed, _changes, answer} -> answer
      answer -> answer
    end
  end

  defp state(instance, ms), do: instance |> ask(:status, ms) |> elem(0)
  defp calls(instance, ms), do: instance |> ask(:status, ms) |> elem(3)

  test "a call that was under way while we were stopped is neither slow nor a failure", %{instance: instance} do
    open(instance)
    for ending <- [:ok, :error, :error], do: refute(ask(instance, {:record, nil, ending, 60_000 * @ms}, 60_100))
    assert {calls(instance, 60_100), state(instance, 60_100)} == {0, :closed}
    # One that began after it counts.
    assert ask(instance, {:record, nil, :error, 50 * @ms}, 60_200)
    assert calls(instance, 60_200) == 1
  end

  test "who is late by a period only was not stopped", %{instance: instance} do
    open(instance)
    assert beat(instance, 2_000) == 0
    for _ <- 1..2, do: assert(ask(instance, {:record, nil, :ok, 1_500 * @ms}, 2_000))
    assert state(instance, 2_000) == :open
  end

  test "an open breaker has as long to wait after a gap as before", %{instance: instance} do
    open(instance)
    ask(instance, {:set, :open}, 0)
    # All of a minute but a second.
    assert {:refused, 9_000} = ask(instance, :allow, 60_000)
    for second <- 61..68, do: beat(instance, second * 1_000)
    assert {:refused, 1_000} = ask(instance, :allow, 68_000)
    assert is_integer(ask(instance, :allow, 69_000))
    assert state(instance, 69_000) == :half_open
  end

  test "what waits for time alone waits as long", %{instance: instance} do
    open(instance, automatic_transition_from_open_to_half_open_enabled: true)
    ask(instance, {:set, :open}, 0)
    assert ask(instance, :look, 60_000) == 9_000 * @ms
    assert state(instance, 60_000) == :open
  end

  test "a trial that was under way gives its permit back, and half-open goes on as long", %{instance: instance} do
    open(instance, max_wait_duration_in_half_open_state: 5_000)
    ask(instance, {:set, :half_open}, 0)
    ticket = ask(instance, :allow, 0)
    assert {:refused, _ms} = ask(instance, :allow, 60_000)
    refute ask(instance, {:record, ticket, :error, 60_000 * @ms}, 60_000)
    assert state(instance, 60_000) == :half_open
    another = ask(instance, :allow, 60_100)
    assert ask(instance, {:record, another, :ok, 10 * @ms}, 60_200)
    assert state(instance, 60_200) == :closed
  end

  test "the outcomes of a window of seconds do not age in a gap", %{instance: instance} do
    open(instance, sliding_window_type: :time_based, sliding_window_size: 10, minimum_number_of_calls: 10)
    for _ <- 1..3, do: assert(ask(instance, {:record, nil, :ok, 0}, 500))
    assert calls(instance, 3_600_000) == 3
    for second <- 3_601..3_609, do: beat(instance, second * 1_000)
    assert calls(instance, 3_609_000) == 0
  end

  test "each gap is lost, once", %{instance: instance} do
    open(instance)
    assert beat(instance, 60_000) == 59_000
    assert beat(instance, 61_000) == 59_000
    assert beat(instance, 71_000) == 68_000
  end

  test "an instance of the same name begins anew", %{instance: instance} do
    open(instance)
    assert beat(instance, 60_000) == 59_000
    :ok = Engine.close(instance)
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    assert beat(instance, 120_000) == 0
  end
end
