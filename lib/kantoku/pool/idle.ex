defmodule Kantoku.Pool.Idle do
  # Which workers had no work for how long, from two looks at them and what they served in between. Asks nobody.
  @moduledoc false

  @typedoc "By worker: how much it had served, and since when that is so (monotonic ms)."
  @type t :: %{pid => {served :: non_neg_integer, since :: integer}}

  @doc "What is known after another look at an engine's list of workers."
  @spec look(t, [tuple], now :: integer) :: t
  def look(idle, workers, now) do
    for {pid, _member, state, 0, _latency, served} <- workers, state != :leaving, into: %{} do
      case idle do
        %{^pid => {^served, since}} -> {pid, {served, since}}
        _worked -> {pid, {served, now}}
      end
    end
  end

  @doc "Who had no work for `timeout` ms."
  @spec since(t, timeout :: pos_integer, now :: integer) :: [pid]
  def since(idle, timeout, now), do: for({pid, {_served, since}} <- idle, now - since >= timeout, do: pid)
end
