defmodule Kantoku.Health.Trial.Parameters do
  # What the agents of a trial do, drawn at random: two sets of ranges that have nothing in common. Health was tuned on one, and is judged
  # on the other. Times are in periods of health, unless said otherwise.
  @moduledoc false

  @classes [:idle, :busy, :waiting, :looping, :standing, :deadlocked, :killed, :leaking, :flooded, :slow_probe]

  @ranges %{
    tuning: %{
      # How long a message may take.
      limit: {0.8, 1.25},
      # Which part of that the busy take.
      share: {0.25, 0.5},
      # What is declared of a wait, in limits of a message.
      wait: {1.5, 3.0},
      # Which part of that passes.
      waited: {0.3, 0.5},
      # When a fault begins, counted from the first look.
      onset: {2.0, 12.0},
      # In how many periods what grows is at its limit.
      growing: {14.0, 22.0},
      # How often it grows.
      beat: {0.1, 0.24},
      # An answer to the probe, in its timeouts.
      answer: {0.0, 0.3},
      # One that is too slow.
      slow: {1.2, 1.9},
      # Memory and mailbox of the busy that come and go, as a part of their limits.
      swing: {0.1, 0.4}
    },
    held_out: %{
      limit: {1.3, 3.0},
      share: {0.5, 0.75},
      wait: {3.1, 6.0},
      waited: {0.5, 0.8},
      onset: {12.0, 30.0},
      growing: {23.0, 36.0},
      beat: {0.25, 0.5},
      answer: {0.3, 0.5},
      slow: {2.0, 4.0},
      swing: {0.4, 0.6}
    }
  }

  # A fault that grows begins early, so that it ends within the trial.
  @soon {0.0, 4.0}

  # So many periods until all is over, with some to spare.
  @length %{tuning: 30, held_out: 44}

  @type class ::
          :idle | :busy | :waiting | :looping | :standing | :deadlocked | :killed | :leaking | :flooded | :slow_probe
  @type set :: :tuning | :held_out
  @type t :: %{
          limit: float,
          share: float,
          wait: float,
          waited: float,
          onset: float,
          growing: float,
          beat: float,
          answer: float,
          slow: float,
          swing: float,
          chance: float
        }

  @spec classes() :: [class]
  def classes, do: @classes

  @doc "How many periods a trial takes."
  @spec length(set) :: pos_integer
  def length(set), do: Map.fetch!(@length, set)

  @doc "The ranges of a set, by name."
  @spec ranges(set) :: %{atom => {float, float}}
  def ranges(set), do: Map.fetch!(@ranges, set)

  @doc "What one agent is like. Uses the random state of the calling process."
  @spec draw(set, class) :: t
  def draw(set, class) do
    drawn = ranges(set) |> Map.new(fn {name, range} -> {name, within(range)} end) |> Map.put(:chance, :rand.uniform())
    if class in [:leaking, :flooded], do: %{drawn | onset: within(@soon)}, else: drawn
  end

  defp within({least, most}), do: least + :rand.uniform() * (most - least)
end
