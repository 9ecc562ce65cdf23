defmodule Kantoku.Agent.Pending do
  # What is not over yet: directives to deliver, a revision to be written, callers who wait for one. Data only.
  @moduledoc false

  defstruct outbox: [],
            courier: nil,
            attempts: 0,
            deliver_timer: nil,
            kept: 0,
            handed: 0,
            changes: 0,
            flight: nil,
            write_timer: nil,
            waiting: [],
            draining: [],
            places: %{}

  @typedoc """
  `handed` is the newest revision that the store was given, `kept` the newest that it says is safe, `changes` counts those not handed over,
  `flight` is the write that it has not answered, `waiting` are replies that leave when a revision is kept, `draining` those that
  leave when nothing is pending. `places` says where in a trace a revision was made whose directives are not all out; it is not written.
  """
  @type t :: %__MODULE__{
          outbox: Kantoku.Agent.Outbox.t(),
          courier: {pid, started :: integer} | nil,
          attempts: non_neg_integer,
          deliver_timer: reference | nil,
          kept: non_neg_integer,
          handed: non_neg_integer,
          changes: non_neg_integer,
          flight: %{ref: reference, revision: pos_integer, started: integer, bytes: pos_integer} | nil,
          write_timer: reference | nil,
          waiting: [{non_neg_integer, GenServer.from(), term}],
          draining: [GenServer.from()],
          places: %{optional(revision :: pos_integer) => Kantoku.Trace.Open.place()}
        }

  @doc "With nothing pending, at a revision that the store has or that needs none."
  @spec none(revision :: non_neg_integer) :: t
  def none(revision), do: %__MODULE__{kept: revision, handed: revision}

  @doc "Whether nothing is left to do at this revision, and nobody waits."
  @spec over?(t, revision :: non_neg_integer) :: boolean
  def over?(
        %__MODULE__{outbox: [], courier: nil, flight: nil, write_timer: nil, waiting: [], draining: []} = pending,
        revision
      ),
      do: pending.handed == revision

  def over?(%__MODULE__{}, _revision), do: false

  @doc "Whether all directives are delivered and the store has said that this revision is safe."
  @spec settled?(t, revision :: non_neg_integer) :: boolean
  def settled?(%__MODULE__{outbox: [], courier: nil, flight: nil} = pending, revision), do: pending.kept == revision
  def settled?(%__MODULE__{}, _revision), do: false

  @doc "Whether someone waits to hear from the store: a caller, or a directive."
  @spec asked?(t) :: boolean
  def asked?(%__MODULE__{waiting: [], draining: [], outbox: []}), do: false

  def asked?(%__MODULE__{outbox: outbox, kept: kept} = pending) do
    pending.waiting != [] or pending.draining != [] or
      Enum.any?(outbox, fn {_id, revision, _directive} -> revision > kept end)
  end
end
