defmodule Kantoku.Engine.Elixir.Pool.Ticket do
  # One request that came, and what has become of it. Times are ns of the monotonic clock.
  #
  # A cast has no owner: nobody may check it in, and nobody's death ends it.
  @moduledoc false

  @enforce_keys [:kind, :owner, :tag, :request, :tenant, :priority, :cost, :wait, :route]
  defstruct @enforce_keys ++ [:number, :since, :deadline, :state, :worker, :given]

  @type kind :: :call | :checkout | :cast
  @type route :: nil | {:hash, non_neg_integer} | {:worker, pid}

  @type t :: %__MODULE__{
          kind: kind,
          owner: pid | nil,
          tag: term,
          request: term,
          tenant: Kantoku.Engine.Pools.tenant(),
          priority: 0..2,
          cost: pos_integer,
          wait: non_neg_integer | :infinity,
          route: route,
          number: non_neg_integer | nil,
          since: integer | nil,
          deadline: integer | :infinity | nil,
          state: :waiting | :served | :held | :abandoned | nil,
          worker: pid | nil,
          given: integer | nil
        }

  @doc "Numbers a ticket and begins its time."
  @spec arrive(t, non_neg_integer, integer) :: t
  def arrive(%{wait: :infinity} = ticket, number, now), do: %{ticket | number: number, since: now, deadline: :infinity}

  def arrive(ticket, number, now) do
    %{ticket | number: number, since: now, deadline: now + ticket.wait * 1_000_000}
  end

  @doc "Whether it has waited longer than it was to. A number is less than any atom."
  @spec expired?(t, integer) :: boolean
  def expired?(ticket, now), do: now > ticket.deadline

  @doc "The ticket at a worker, in the state that its kind has there. The request is the worker's from then on."
  @spec give(t, pid, integer) :: t
  def give(ticket, worker, now) do
    %{ticket | state: given(ticket.kind), worker: worker, given: now, request: nil, deadline: :infinity}
  end

  defp given(:call), do: :served
  defp given(:checkout), do: :held
  defp given(:cast), do: :abandoned
end
