defmodule Kantoku.Engine.Elixir.Breaker.Machine do
  # The rules of a breaker as functions of a state and a time; `Kantoku.Engine.Breakers` says them. Knows no process: owners of
  # permits are names. Each function answers {answer, change or nil, machine}.
  @moduledoc false

  import Bitwise

  alias Kantoku.Engine.Breakers
  alias Kantoku.Engine.Elixir.Breaker.Window

  @ms 1_000_000
  @number_bits 24
  @numbers (1 <<< 24) - 1

  @enforce_keys [:config, :window]
  defstruct @enforce_keys ++
              [
                state: :closed,
                turn: 0,
                since: 0,
                until: 0,
                left: 0,
                last: 0,
                permits: [],
                refused: 0,
                totals: %{succeeded: 0, failed: 0, slow: 0}
              ]

  @type t :: %__MODULE__{config: Breakers.config(), state: Breakers.state(), turn: non_neg_integer}
  @type done(answer) :: {answer, Breakers.change() | nil, t}

  @spec new(Breakers.config(), now :: integer) :: t
  def new(config, now) do
    {_change, machine} = enter(%__MODULE__{config: config, window: Window.new(config)}, :closed, now)
    machine
  end

  @doc "Changes the parameters."
  @spec configure(t, Breakers.config(), now :: integer) :: t
  def configure(%{config: config} = machine, config, _now), do: machine

  def configure(machine, config, now) do
    same_window? = window_of(machine.config) == window_of(config)
    machine = %{machine | config: config}

    cond do
      machine.state == :open -> %{machine | until: machine.since + config.wait_duration_in_open_state * @ms}
      machine.state == :half_open or not same_window? -> machine |> enter(machine.state, now) |> elem(1)
      true -> machine
    end
  end

  defp window_of(config),
    do: Map.take(config, [:sliding_window_type, :sliding_window_size, :minimum_number_of_calls])

  @doc "What time alone does; when there will be more of that."
  @spec look(t, now :: integer) :: done(integer | nil)
  def look(machine, now) do
    {change, machine} = lapse(machine, now)
    {due(machine), change, machine}
  end

  defp lapse(%{config: config} = machine, now) do
    max_wait = config.max_wait_duration_in_half_open_state * @ms

    case machine.state do
      :open when config.automatic_transition_from_open_to_half_open_enabled and now >= machine.until ->
        enter(machine, :half_open, now)

      :half_open when max_wait > 0 and now - machine.since >= max_wait ->
        enter(machine, :open, now)

      _stays ->
        {nil, machine}
    end
  end

  defp due(%{state: :open, config: %{automatic_transition_from_open_to_half_open_enabled: true}} = machine),
    do: machine.until

  defp due(%{state: :half_open, config: %{max_wait_duration_in_half_open_state: ms}} = machine) when ms > 0,
    do: machine.since + ms * @ms

  defp due(_machine), do: nil

  @doc "Whether a call of `owner` may be made."
  @spec allow(t, owner :: term, now :: integer) :: done(Breakers.ticket() | {:refused, Breakers.retry_in()})
  def allow(machine, owner, now) do
    {change, machine} = arrive(machine, now)
    {answer, machine} = admit(machine, owner, now)
    {answer, change, machine}
  end

  defp arrive(machine, now) do
    case lapse(machine, now) do
      {_change, %{state: :open, until: until} = machine} when now >= until -> enter(machine, :half_open, now)
      lapsed -> lapsed
    end
  end

  defp admit(%{state: state} = machine, _owner, _now) when state in [:closed, :disabled, :metrics_only],
    do: {ticket(machine, 0), machine}

  defp admit(%{state: :half_open, left: left} = machine, owner, _now) when left > 0 do
    number = rem(machine.last, @numbers) + 1
    permits = machine.permits ++ [{number, owner}]
    {ticket(machine, number), %{machine | left: left - 1, last: number, permits: permits}}
  end

  defp admit(machine, _owner, now),
    do: {{:refused, retry_in(machine, now)}, %{machine | refused: machine.refused + 1}}

  defp ticket(machine, number), do: machine.turn <<< @number_bits ||| number

  @doc "A call ended; whether that was counted."
  @spec record(t, Breakers.ticket() | nil, owner :: term, Breakers.ending(), non_neg_integer, now :: integer) ::
          done(boolean)
  def record(machine, ticket, owner, ending, took, now) do
    if ticket == nil or ticket >>> @number_bits == machine.turn,
      do: machine |> end_permit(ticket, owner, ending != :ignore) |> count(ending, took, now),
      else: {false, nil, machine}
  end

  # A permit has one outcome.
  defp end_permit(%{state: :half_open} = machine, ticket, owner, used?) do
    number = ticket && (ticket &&& @numbers)
    is = fn {its, whose} -> if number, do: its == number, else: whose == owner end

    case Enum.split_while(machine.permits, &(not is.(&1))) do
      {before, [_ended | rest]} ->
        {true, %{machine | permits: before ++ rest, left: machine.left + if(used?, do: 0, else: 1)}}

      {_all, []} ->
        {ticket == nil, machine}
    end
  end

  defp end_permit(machine, _ticket, _owner, _used?), do: {true, machine}

  defp count({true, %{state: state} = machine}, ending, took, now)
       when ending != :ignore and state in [:closed, :half_open, :metrics_only] do
    slow? = took > machine.config.slow_call_duration_threshold * @ms
    window = Window.record(machine.window, ending == :error, slow?, now)
    {change, machine} = judge(%{machine | window: window, totals: total(machine.totals, ending, slow?)}, now)
    {true, change, machine}
  end

  defp count({_known?, machine}, _ending, _took, _now), do: {false, nil, machine}

  defp total(totals, ending, slow?) do
    ended = if ending == :ok, do: :succeeded, else: :failed
    slow = if slow?, do: totals.slow + 1, else: totals.slow
    %{Map.update!(totals, ended, &(&1 + 1)) | slow: slow}
  end

  @doc "The state, and what was counted since the breaker was opened, whatever became of the window."
  @spec totals(t) :: {Breakers.state(), %{atom => non_neg_integer}}
  def totals(machine), do: {machine.state, Map.put(machine.totals, :refused, machine.refused)}

  defp judge(%{state: state, window: window} = machine, now) do
    cond do
      state == :metrics_only or not Window.tells?(window) -> {nil, machine}
      Window.reached?(window, machine.config) -> enter(machine, :open, now)
      state == :half_open -> enter(machine, :closed, now)
      true -> {nil, machine}
    end
  end

  @doc "What everybody is answered in this state: `{:allow, ticket}`, or `:ask` where that depends."
  @spec view(t) :: {:allow, Breakers.ticket()} | :ask
  def view(%{state: state} = machine) when state in [:closed, :disabled, :metrics_only],
    do: {:allow, ticket(machine, 0)}

  def view(_machine), do: :ask

  @doc "An owner died: its permits go back."
  @spec owner_died(t, owner :: term) :: t
  def owner_died(machine, owner) do
    {gone, permits} = Enum.split_with(machine.permits, fn {_number, whose} -> whose == owner end)
    %{machine | permits: permits, left: machine.left + length(gone)}
  end

  @doc "Who has permits."
  @spec owners(t) :: [owner :: term]
  def owners(machine), do: for({_number, owner} <- machine.permits, uniq: true, do: owner)

  @doc "Puts it into a state, whatever it is in; into the same one, as if it had just come there."
  @spec set(t, Breakers.state(), now :: integer) :: done(:ok)
  def set(machine, state, now) do
    {change, machine} = enter(machine, state, now)
    {:ok, change, machine}
  end

  @spec status(t, now :: integer) :: done(Breakers.status())
  def status(machine, now) do
    %{counts: {calls, failed, slow}} = window = Window.forget(machine.window, now)
    {left, out} = {machine.left, length(machine.permits)}

    status =
      {machine.state, retry_in(machine, now), max(div(now - machine.since, @ms), 0), calls, failed, slow,
       window.minimum, left, out, machine.refused}

    {status, nil, %{machine | window: window}}
  end

  # Of trials nobody knows when they end: a tenth of the wait is soon, and not at once.
  defp retry_in(%{state: :forced_open}, _now), do: :never
  defp retry_in(%{state: :open, until: until}, now), do: ms_until(until - now)

  defp retry_in(%{state: :half_open, left: 0, config: config}, _now),
    do: ms_until(div(config.wait_duration_in_open_state * @ms, 10))

  defp retry_in(_machine, _now), do: 0

  defp ms_until(ns), do: max(div(ns + @ms - 1, @ms), 0)

  defp enter(%{state: from, window: %{counts: {calls, failed, slow}}} = machine, to, now) do
    config = machine.config
    left = if to == :half_open, do: config.permitted_number_of_calls_in_half_open_state, else: 0

    machine = %{
      machine
      | state: to,
        turn: machine.turn + 1 &&& 0x1FFFFFFF,
        since: now,
        left: left,
        last: 0,
        permits: []
    }

    {if(from != to, do: {from, to, calls, failed, slow}), begin(machine, now)}
  end

  # What opened it is still to be seen.
  defp begin(%{state: :open} = machine, now),
    do: %{machine | until: now + machine.config.wait_duration_in_open_state * @ms}

  defp begin(%{state: :half_open} = machine, _now), do: %{machine | window: Window.of_trials(machine.config)}
  defp begin(machine, _now), do: %{machine | window: Window.new(machine.config)}
end
