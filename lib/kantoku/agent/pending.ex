defmodule Kantoku.Agent.Pending do
  # What is not over yet: directives to deliver, a revision to be written, callers who wait for one. Data only.
  @moduledoc false

  defstruct outbox: [],
            courier: nil,
            attempts: 0,
            deliver_timer: nil,
            kept: 0,
            changes: 0,
            flight: nil,
            write_timer: nil,
            waiting: [],
            draining: []

  @typedoc """
  `kept` is the newest revision that the store has, `changes` counts those after the last one handed to it, `flight` is the write it has not
  answered, `waiting` are replies that leave when a revision is kept, `draining` those that leave when nothing is pending.
  """
  @type t :: %__MODULE__{
          outbox: Kantoku.Agent.Outbox.t(),
          courier: {pid, started :: integer} | nil,
          attempts: non_neg_integer,
          deliver_timer: reference | nil,
          kept: non_neg_integer,
          changes: non_neg_integer,
          flight: %{ref: reference, revision: pos_integer, started: integer, bytes: pos_integer} | nil,
          write_timer: reference | nil,
          waiting: [{non_neg_integer, GenServer.from(), term}],
          draining: [GenServer.from()]
        }

  @doc "Whether nothing is pending at this revision."
  @spec done?(t, revision :: non_neg_integer) :: boolean
  def done?(%__MODULE__{} = pending, revision) do
    idle?(pending, revision) and pending.write_timer == nil and pending.waiting == [] and pending.draining == []
  end

  @doc "Whether all is kept and delivered."
  @spec idle?(t, revision :: non_neg_integer) :: boolean
  def idle?(pending, revision) do
    pending.kept == revision and pending.outbox == [] and pending.courier == nil and pending.flight == nil
  end
end
