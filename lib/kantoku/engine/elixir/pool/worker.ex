defmodule Kantoku.Engine.Elixir.Pool.Worker do
  # One worker: its place, what it is at, and how it has done. By the pool's own count, `freed` says when it last came to have a
  # permit free after it had none, and `given` when it was last given a ticket. `ejected` and `shut` (not ready) set it aside; `grows` is
  # since when its share does.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Latency, Toll}

  @enforce_keys [:pid, :member]
  defstruct @enforce_keys ++
              [
                state: :ready,
                tickets: MapSet.new(),
                latency: %Latency{},
                served: 0,
                freed: 0,
                given: 0,
                toll: %Toll{},
                ejected: false,
                shut: false,
                grows: nil
              ]

  @type t :: %__MODULE__{
          pid: pid,
          member: non_neg_integer,
          state: :ready | :leaving,
          tickets: MapSet.t(non_neg_integer),
          latency: Latency.t(),
          served: non_neg_integer,
          freed: non_neg_integer,
          given: non_neg_integer,
          toll: Toll.t(),
          ejected: boolean,
          shut: boolean,
          grows: integer | nil
        }

  @doc "How many of its permits are used."
  @spec ongoing(t) :: non_neg_integer
  def ongoing(worker), do: MapSet.size(worker.tickets)
end
