defmodule Kantoku.Engine.Elixir.Breaker.Shape do
  # Arguments as the native engine takes them; raises `ArgumentError` on others, as that does. Knows no rule of breakers.
  @moduledoc false

  @states [:closed, :open, :half_open, :disabled, :forced_open, :metrics_only]
  @most 0xFFFFFFFF

  @ranges [
    failure_rate_threshold: {1, 100_000_000},
    slow_call_rate_threshold: {1, 100_000_000},
    slow_call_duration_threshold: {0, @most},
    sliding_window_size: {1, 100_000},
    minimum_number_of_calls: {1, @most},
    wait_duration_in_open_state: {1, @most},
    permitted_number_of_calls_in_half_open_state: {1, 10_000},
    max_wait_duration_in_half_open_state: {0, @most}
  ]

  @spec config!(term) :: Kantoku.Engine.Breakers.config()
  def config!(%{sliding_window_type: type, automatic_transition_from_open_to_half_open_enabled: automatic?} = config)
      when type in [:count_based, :time_based] and is_boolean(automatic?) do
    if Enum.all?(@ranges, &in_range?(config, &1)), do: config, else: raise(ArgumentError)
  end

  def config!(_other), do: raise(ArgumentError)

  defp in_range?(config, {name, {least, most}}) do
    case config do
      %{^name => number} when is_integer(number) -> number >= least and number <= most
      _other -> false
    end
  end

  @spec command!(term) :: Kantoku.Engine.Breakers.command()
  def command!(command) when command in [:allow, :look, :status], do: command
  def command!({:set, state} = command) when state in @states, do: command

  def command!({:record, ticket, ending, took} = command)
      when (ticket == nil or (is_integer(ticket) and ticket >= 0 and ticket < 0x100000000000000)) and
             ending in [:ok, :error, :ignore] and is_integer(took) and took >= 0 and took <= 0xFFFFFFFFFFFFFFFF,
      do: command

  def command!(_other), do: raise(ArgumentError)

  @doc "A time, or `nil` for that in which it is asked for."
  @spec time!(term) :: integer | nil
  def time!(nil), do: nil
  def time!(now), do: now!(now)

  @doc "A time; now, if it is `nil`."
  @spec now!(term) :: integer
  def now!(nil), do: System.monotonic_time(:nanosecond)
  def now!(now) when is_integer(now) and now >= -0x8000000000000000 and now <= 0x7FFFFFFFFFFFFFFF, do: now
  def now!(_other), do: raise(ArgumentError)
end
