Code.require_file("terms.exs", __DIR__)

# Runs the same commands, at the same times, on a breaker of each engine, and compares every answer, what changed with it, and what the
# breaker then says of itself. Tickets are named as each engine likes.
if Kantoku.Native.loaded?() do
  defmodule Kantoku.BreakersAgreeTest do
    use ExUnit.Case, async: true
    import Kantoku.EachEngine, only: [with_both: 2]
    import Kantoku.Terms, only: [check: 3]
    import Kantoku.TestOwner, only: [eventually: 1]
    alias Kantoku.Engine.Breakers
    alias Kantoku.TestOwner

    @moduletag :property
    @moduletag timeout: 300_000
    @owners 3
    @names [:breaker, {:of, "any", 1.0}]

    test "breakers of both engines answer alike at the same times" do
      check({config(), :proper_types.resize(120, :proper_types.list(command()))}, &agree?/1, 300)
    end

    defp config do
      {:proper_types.elements([:count_based, :time_based]), small(1, 8), small(1, 9), rate(), rate(), small(1, 40),
       small(1, 4), :proper_types.elements([0, 0, 15]), :proper_types.boolean()}
    end

    defp small(least, most), do: :proper_types.integer(least, most)
    defp rate, do: :proper_types.elements([1, 33_333_333, 50_000_000, 66_666_667, 100_000_000])

    defp command do
      :proper_types.frequency([
        {12, {:allow, owner()}},
        {16, {:record, owner(), ending(), small(0, 8)}},
        {14, {:end, small(0, 9), ending(), small(0, 8)}},
        {2, {:kill, owner()}},
        {6, {:pass, small(0, 30)}},
        {2, {:pass, small(500, 4_000)}},
        {3, :look},
        {3, :beat},
        {1, {:set, :proper_types.elements([:closed, :open, :half_open, :disabled, :forced_open, :metrics_only])}},
        {1, {:configure, config()}}
      ])
    end

    defp owner, do: small(0, @owners - 1)
    defp ending, do: :proper_types.elements([:ok, :ok, :error, :error, :ignore])

    defp agree?({config, commands}) do
      name = Enum.random(@names)

      with_both(:breakers_agree, fn instances ->
        for instance <- instances, do: :ok = Breakers.breaker_open(instance, name, config!(config), 0)
        owners = for _ <- 1..@owners, do: TestOwner.start()
        state = %{instances: instances, name: name, owners: owners, now: 0, tickets: [], held: []}
        state = Enum.reduce(commands, state, &step/2)
        Enum.each(state.owners, &TestOwner.kill/1)
        true
      end)
    end

    defp config!({type, size, minimum, failed, slow, wait, permitted, max_wait, automatic?}) do
      %{
        failure_rate_threshold: failed,
        slow_call_rate_threshold: slow,
        slow_call_duration_threshold: 4,
        sliding_window_type: type,
        sliding_window_size: size,
        minimum_number_of_calls: minimum,
        wait_duration_in_open_state: wait,
        permitted_number_of_calls_in_half_open_state: permitted,
        max_wait_duration_in_half_open_state: max_wait,
        automatic_transition_from_open_to_half_open_enabled: automatic?
      }
    end

    defp step({:pass, ms}, state), do: same_status!(%{state | now: state.now + ms * 1_000_000 + 1})

    defp step({:allow, owner}, state) do
      case ask(state, owner, fn _engine -> :allow end) do
        {{:refused, _retry_in}, state} -> same_status!(state)
        {{:tickets, tickets}, state} -> same_status!(held(state, owner, tickets))
      end
    end

    defp step({:record, owner, ending, ms}, state) do
      {_counted, state} = ask(state, owner, fn _engine -> {:record, nil, ending, ms * 1_000_000} end)
      same_status!(%{state | held: List.delete(state.held, Enum.find(state.held, &(elem(&1, 1) == owner)))})
    end

    defp step({:end, _at, _ending, _ms}, %{tickets: []} = state), do: state

    defp step({:end, at, ending, ms}, state) do
      {tickets, owner} = Enum.at(state.tickets, rem(at, length(state.tickets)))
      {_counted, state} = ask(state, owner, fn engine -> {:record, elem(tickets, engine), ending, ms * 1_000_000} end)
      same_status!(%{state | held: List.delete(state.held, {tickets, owner})})
    end

    # Both hear of it in their own time.
    defp step({:kill, owner}, state) do
      TestOwner.kill(Enum.at(state.owners, owner))
      held = for {_tickets, whose} = one <- state.held, whose != owner, do: one
      out = length(held)
      assert eventually(fn -> Enum.all?(statuses(state), &(elem(&1, 8) == out)) end)
      owners = List.replace_at(state.owners, owner, TestOwner.start())
      same_status!(%{state | owners: owners, held: held})
    end

    defp step({:configure, config}, state) do
      for instance <- state.instances,
          do: :ok = Breakers.breaker_open(instance, state.name, config!(config), state.now)

      held = if elem(hd(statuses(state)), 0) == :half_open, do: [], else: state.held
      same_status!(%{state | held: held})
    end

    defp step({:set, to}, state) do
      {:ok, state} = ask(state, 0, fn _engine -> {:set, to} end)
      same_status!(%{state | held: []})
    end

    # Whoever beats once is stopped whenever more than two seconds pass before it does so again.
    defp step(:beat, state) do
      [lost, other] = for instance <- state.instances, do: Breakers.breaker_beat(instance, state.now)
      assert lost == other
      same_status!(state)
    end

    defp step(:look, state) do
      {_due, state} = ask(state, 0, fn _engine -> :look end)
      same_status!(state)
    end

    # A permit's ticket has a number in its low bits.
    defp held(state, owner, tickets) do
      one = {tickets, owner}
      permit? = rem(elem(tickets, 1), 0x1000000) != 0
      held = if permit?, do: state.held ++ [one], else: state.held
      %{state | tickets: Enum.take([one | state.tickets], 10), held: held}
    end

    defp ask(state, owner, command) do
      pid = Enum.at(state.owners, owner)

      answers =
        for {instance, engine} <- Enum.with_index(state.instances) do
          TestOwner.run(pid, fn -> Breakers.breaker_ask(instance, state.name, command.(engine), state.now) end)
        end

      {changes, bare} = answers |> Enum.map(&bare/1) |> Enum.unzip()
      [one, other] = changes
      assert one == other, "#{inspect(command.(0))} at #{state.now}: #{inspect(answers)}"
      # With a change of state all that was held is void.
      state = if one == [], do: state, else: %{state | held: []}
      {alike!(bare, {command.(0), state.now, answers}), state}
    end

    defp bare({:changed, changes, answer}), do: {changes, answer}
    defp bare(answer), do: {[], answer}

    defp alike!([one, other], _what) when is_integer(one) and is_integer(other) and one != other,
      do: {:tickets, {one, other}}

    defp alike!([same, same], {:allow, _now, _answers}) when is_integer(same), do: {:tickets, {same, same}}
    defp alike!([same, same], _what), do: same
    defp alike!([_, _], what), do: flunk("not alike: #{inspect(what)}")

    defp same_status!(state) do
      [one, other] = statuses(state)
      assert one == other
      state
    end

    defp statuses(state),
      do: for(instance <- state.instances, do: Breakers.breaker_ask(instance, state.name, :status, state.now))
  end
end
