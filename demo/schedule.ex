defmodule Demo.Schedule do
  # When a run begins and ends, and when there is more to do in between. Knows no clock: times are monotonic ms, and arguments.
  @moduledoc false

  alias Demo.Options

  # Files that are worked on at once, and how many times that in a surge.
  @window 32
  @times 32
  # A surge is in the middle, and at most half of the time.
  @surge 15_000

  @enforce_keys [:began, :deadline, :surge]
  defstruct @enforce_keys

  @type t :: %__MODULE__{began: integer, deadline: integer, surge: nil | {from :: integer, until :: integer}}

  @doc "That of a run that begins now."
  @spec new(Options.t(), now :: integer) :: t
  def new(%{seconds: seconds, surge: surge?}, now) do
    deadline = now + seconds * 1_000
    %__MODULE__{began: now, deadline: deadline, surge: if(surge?, do: middle(now, deadline))}
  end

  defp middle(began, deadline) do
    length = min(@surge, div(deadline - began, 2))
    from = began + div(deadline - began - length, 2)
    {from, from + length}
  end

  @doc "How many times as much there is to do in a surge."
  @spec times() :: pos_integer
  def times, do: @times

  @doc "Whether there is more to do than usual."
  @spec surging?(t, now :: integer) :: boolean
  def surging?(%{surge: nil}, _now), do: false
  def surging?(%{surge: {from, until}}, now), do: now >= from and now < until

  @doc "How many files are worked on at once."
  @spec window(t, now :: integer) :: pos_integer
  def window(schedule, now), do: if(surging?(schedule, now), do: @window * @times, else: @window)
end
