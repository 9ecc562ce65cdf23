defmodule Kantoku.Pool.Lease do
  @moduledoc """
  A worker that was checked out: `pid` is the worker, `pool` whose it is. Belongs to the process that checked it out, until
  that hands it in (`Kantoku.Pool.checkin/2`), or dies.
  """

  @enforce_keys [:pool, :pid, :ticket]
  defstruct @enforce_keys ++ [permit: nil, begun: nil, span: nil]

  @type t :: %__MODULE__{
          pool: Kantoku.Pool.t(),
          pid: pid,
          ticket: Kantoku.Engine.Pools.ticket(),
          permit: nil | {Kantoku.Breaker.ticket(), begun_ns :: integer},
          begun: nil | (begun_ns :: integer),
          span: nil | Kantoku.Trace.Open.t()
        }
end
