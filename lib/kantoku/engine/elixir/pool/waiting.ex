defmodule Kantoku.Engine.Elixir.Pool.Waiting do
  # Who waits, and who is next: deficit round-robin with surplus over tenants, in a ring. Knows tickets by their numbers, which grow
  # as they arrive, and no workers.
  #
  #   W1. A tenant is in the ring exactly if it has a ticket waiting.
  #   W2. Whose credit is above 0 is at the head.
  #   W3. Where there is no room, the tenant makes some whose line is longest for its weight, a newcomer counted in, and a tenant's
  #       only ticket never does: longest queue drop (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990).
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.{Line, Ticket}

  defstruct lines: %{}, ring: :gb_trees.empty(), last: 0, size: 0, deadlines: :gb_sets.new()

  @type tenant :: Kantoku.Engine.Pools.tenant()
  @type t :: %__MODULE__{
          lines: %{tenant => Line.t()},
          ring: :gb_trees.tree(),
          last: non_neg_integer,
          size: non_neg_integer,
          deadlines: :gb_sets.set()
        }

  @spec new() :: t
  def new, do: %__MODULE__{}

  @spec tenants(t) :: [tenant]
  def tenants(waiting), do: Map.keys(waiting.lines)

  @doc "Puts a ticket at the end of its line; a tenant that had none waiting goes to the tail of the ring."
  @spec join(t, Ticket.t()) :: t
  def join(waiting, ticket) do
    waiting = enter(waiting, ticket.tenant)
    line = waiting.lines |> Map.fetch!(ticket.tenant) |> Line.add(ticket.priority, ticket.number)

    %{waiting | size: waiting.size + 1, deadlines: note(waiting.deadlines, ticket)}
    |> put(ticket.tenant, line)
  end

  defp enter(%{lines: lines} = waiting, tenant) when is_map_key(lines, tenant), do: waiting

  defp enter(waiting, tenant) do
    {place, waiting} = tail(waiting, tenant)
    put(waiting, tenant, Line.new(place))
  end

  defp note(deadlines, %{deadline: :infinity}), do: deadlines
  defp note(deadlines, ticket), do: :gb_sets.add_element({ticket.deadline, ticket.number}, deadlines)

  @doc """
  Goes round the ring to the tenant that is next, which then has credit and is at the head; so a second visit finds the same.
  """
  @spec visit(t, %{tenant => pos_integer}) :: {tenant, t}
  def visit(waiting, weights), do: visit(waiting, weights, :gb_trees.size(waiting.ring))

  defp visit(waiting, weights, 0), do: waiting |> skip_turns(weights) |> visit(weights)

  defp visit(waiting, weights, left) do
    {_place, tenant} = :gb_trees.smallest(waiting.ring)
    line = Line.visit(Map.fetch!(waiting.lines, tenant), weight(weights, tenant))
    waiting = put(waiting, tenant, line)
    if line.credit > 0, do: {tenant, waiting}, else: waiting |> rotate(tenant) |> visit(weights, left - 1)
  end

  # A turn served nobody. As many would again as the nearest to having credit still needs but one: added at once.
  defp skip_turns(waiting, weights) do
    turns = for {tenant, line} <- waiting.lines, do: Line.turns(line, weight(weights, tenant))
    skipped = Enum.min(turns) - 1

    lines =
      for {tenant, line} <- waiting.lines, into: %{} do
        {tenant, %{line | credit: line.credit + skipped * weight(weights, tenant)}}
      end

    %{waiting | lines: lines}
  end

  defp weight(weights, tenant), do: Map.get(weights, tenant, 1)

  @doc "Which ticket of a tenant is next; `nil` if it has none."
  @spec next(t, tenant, :oldest | :newest) :: non_neg_integer | nil
  def next(waiting, tenant, from) do
    with %Line{} = line <- Map.get(waiting.lines, tenant), do: Line.next(line, from)
  end

  @doc "The oldest ticket of a tenant, whatever its priority; `nil` if it has none."
  @spec oldest(t, tenant) :: non_neg_integer | nil
  def oldest(waiting, tenant) do
    with %Line{} = line <- Map.get(waiting.lines, tenant), do: Line.oldest(line)
  end

  @doc "Takes out the ticket that a worker gets, and charges its tenant, which goes to the tail when its credit is used up."
  @spec serve(t, Ticket.t()) :: t
  def serve(waiting, %{tenant: tenant} = ticket) do
    waiting = put(waiting, tenant, waiting.lines |> Map.fetch!(tenant) |> Line.charge(ticket.cost)) |> remove(ticket)

    case waiting.lines do
      %{^tenant => %{credit: credit}} when credit <= 0 -> rotate(waiting, tenant)
      _stays_or_left -> waiting
    end
  end

  @doc "Takes out a ticket that nobody gets."
  @spec remove(t, Ticket.t()) :: t
  def remove(waiting, %{tenant: tenant} = ticket) do
    line = waiting.lines |> Map.fetch!(tenant) |> Line.delete(ticket.priority, ticket.number)
    deadlines = :gb_sets.del_element({ticket.deadline, ticket.number}, waiting.deadlines)
    waiting = %{waiting | size: waiting.size - 1, deadlines: deadlines}
    if Line.empty?(line), do: leave(waiting, tenant, line), else: put(waiting, tenant, line)
  end

  @doc "How many tickets of a tenant wait, its weight, and the weight of all that are in the ring if it is."
  @spec standing(t, tenant, %{tenant => pos_integer}) :: {non_neg_integer, pos_integer, pos_integer}
  def standing(waiting, tenant, weights) do
    others = for {other, _line} <- waiting.lines, other != tenant, do: weight(weights, other)
    own = weight(weights, tenant)
    {size(waiting, tenant), own, own + Enum.sum(others)}
  end

  @doc "The ticket that makes room for one of a tenant (W3); `nil` if the tenant itself has most."
  @spec outcrowded(t, tenant, %{tenant => pos_integer}) :: non_neg_integer | nil
  def outcrowded(waiting, tenant, weights) do
    comer = size(waiting, tenant) + 1
    others = for {other, line} <- waiting.lines, other != tenant, size = Line.size(line), size > 1, do: {other, size}

    with [_ | _] <- others,
         {longest, size} = Enum.max_by(others, fn {other, size} -> size / weight(weights, other) end),
         true <- comer == 1 or size * weight(weights, tenant) > comer * weight(weights, longest) do
      waiting.lines |> Map.fetch!(longest) |> Line.last()
    else
      _none -> nil
    end
  end

  defp size(waiting, tenant) do
    case waiting.lines do
      %{^tenant => line} -> Line.size(line)
      _none -> 0
    end
  end

  @doc "The number of a ticket that has waited longer than it was to; `nil` if none has."
  @spec expired(t, integer) :: non_neg_integer | nil
  def expired(waiting, now) do
    with false <- :gb_sets.is_empty(waiting.deadlines),
         {deadline, number} when now > deadline <- :gb_sets.smallest(waiting.deadlines) do
      number
    else
      _none -> nil
    end
  end

  defp rotate(waiting, tenant) do
    line = Map.fetch!(waiting.lines, tenant)
    {place, waiting} = tail(%{waiting | ring: :gb_trees.delete(line.place, waiting.ring)}, tenant)
    put(waiting, tenant, %{line | place: place})
  end

  defp tail(waiting, tenant) do
    place = waiting.last + 1
    {place, %{waiting | last: place, ring: :gb_trees.insert(place, tenant, waiting.ring)}}
  end

  defp leave(waiting, tenant, line) do
    %{waiting | lines: Map.delete(waiting.lines, tenant), ring: :gb_trees.delete(line.place, waiting.ring)}
  end

  defp put(waiting, tenant, line), do: %{waiting | lines: Map.put(waiting.lines, tenant, line)}
end
