defmodule Kantoku.Engine.Elixir.Pool.Credits do
  # Credits on loan to those who send, each for one request: wished for, then held until it is taken to send one, given back, not used
  # in time, or its holder dies. Knows no room and no pool.
  #
  #   C1. `held` is what all loans hold; `of_tenant` the same for each tenant.
  #   C2. A credit ends once: granted = taken + returned + lapsed + held.
  #   C3. A loan is in the line exactly while it wishes for more, but at its turn.
  @moduledoc false

  # More is wished for by nobody.
  @most 0xFFFFFFFF

  @enforce_keys [:next]
  defstruct @enforce_keys ++
              [
                loans: %{},
                line: :queue.new(),
                held: 0,
                of_tenant: %{},
                tally: %{granted: 0, taken: 0, returned: 0, lapsed: 0}
              ]

  @type name :: non_neg_integer
  @type loan :: %{
          owner: pid,
          tag: term,
          tenant: Kantoku.Engine.Pools.tenant(),
          cost: pos_integer,
          ttl: pos_integer,
          wished: non_neg_integer,
          held: non_neg_integer,
          lapses: integer
        }
  @type t :: %__MODULE__{
          next: name,
          loans: %{name => loan},
          line: :queue.queue(name),
          held: non_neg_integer,
          of_tenant: %{Kantoku.Engine.Pools.tenant() => pos_integer},
          tally: %{atom => non_neg_integer}
        }

  @spec new(name) :: t
  def new(first), do: %__MODULE__{next: first}

  @doc "A new loan, without any credits yet. `ttl` is in ns."
  @spec open(t, pid, tag :: term, Kantoku.Engine.Pools.tenant(), pos_integer, pos_integer) :: {name, t}
  def open(%{next: name} = credits, owner, tag, tenant, cost, ttl) do
    loan = %{owner: owner, tag: tag, tenant: tenant, cost: cost, ttl: ttl, wished: 0, held: 0, lapses: 0}
    {name, %{credits | next: name + 1, loans: Map.put(credits.loans, name, loan)}}
  end

  @spec fetch(t, name) :: loan | nil
  def fetch(credits, name), do: credits.loans[name]

  @spec held_of(t, Kantoku.Engine.Pools.tenant()) :: non_neg_integer
  def held_of(credits, tenant), do: Map.get(credits.of_tenant, tenant, 0)

  @doc "How many loans wish for more."
  @spec wishing(t) :: non_neg_integer
  def wishing(credits), do: :queue.len(credits.line)

  @spec wish(t, name, non_neg_integer) :: t
  def wish(credits, _name, 0), do: credits

  def wish(credits, name, count) do
    loan = Map.fetch!(credits.loans, name)
    line = if loan.wished == 0, do: :queue.in(name, credits.line), else: credits.line
    put(%{credits | line: line}, name, %{loan | wished: min(loan.wished + count, @most)})
  end

  @doc "Whose turn it is; until it is lined up again, or has nothing to wish for, it stands nowhere. Somebody wishes."
  @spec turn(t) :: {name, t}
  def turn(credits) do
    {{:value, name}, line} = :queue.out(credits.line)
    {name, %{credits | line: line}}
  end

  @doc "To the end of the line, if it still wishes."
  @spec line_up(t, name) :: t
  def line_up(credits, name) do
    if credits.loans[name].wished > 0, do: %{credits | line: :queue.in(name, credits.line)}, else: credits
  end

  @doc "To the head of the line, in this order."
  @spec put_back(t, [name]) :: t
  def put_back(credits, names), do: %{credits | line: :queue.join(:queue.from_list(names), credits.line)}

  @doc "Takes the last out of the line; `nil` if this is not it."
  @spec step_out(t, name) :: t | nil
  def step_out(credits, name) do
    if :queue.peek_r(credits.line) == {:value, name}, do: %{credits | line: :queue.drop_r(credits.line)}
  end

  @doc "Grants a loan that stands nowhere some of its wish."
  @spec grant(t, name, pos_integer, integer) :: t
  def grant(credits, name, count, now) do
    loan = Map.fetch!(credits.loans, name)
    granted = %{loan | wished: loan.wished - count, held: loan.held + count, lapses: now + loan.ttl}

    %{credits | held: credits.held + count}
    |> tenant(loan.tenant, count)
    |> count(:granted, count)
    |> put(name, granted)
  end

  @doc "Ends so many at most of what a loan holds, as taken or returned: how many."
  @spec finish(t, name, non_neg_integer | :all, :taken | :returned | :lapsed) :: {non_neg_integer, t}
  def finish(credits, name, most, how) do
    %{held: held} = loan = Map.fetch!(credits.loans, name)
    count = if most == :all, do: held, else: min(most, held)

    credits =
      %{credits | held: credits.held - count}
      |> tenant(loan.tenant, -count)
      |> count(how, count)
      |> put(name, %{loan | held: held - count})

    {count, credits}
  end

  @doc "Ends a loan: what it held."
  @spec close(t, name) :: {non_neg_integer, t}
  def close(credits, name) do
    {held, credits} = finish(credits, name, :all, :returned)
    line = :queue.filter(&(&1 != name), credits.line)
    {held, %{credits | line: line, loans: Map.delete(credits.loans, name)}}
  end

  @doc "Ends the loans of a process that died."
  @spec widow(t, pid) :: t
  def widow(credits, owner) do
    for {name, %{owner: ^owner}} <- credits.loans, reduce: credits, do: (credits -> credits |> close(name) |> elem(1))
  end

  @doc "Takes back what was held too long."
  @spec lapse(t, integer) :: t
  def lapse(%{held: 0} = credits, _now), do: credits

  def lapse(credits, now) do
    for {name, %{held: held, lapses: at}} when held > 0 and at <= now <- credits.loans,
        reduce: credits,
        do: (credits -> credits |> finish(name, :all, :lapsed) |> elem(1))
  end

  defp put(credits, name, loan), do: %{credits | loans: Map.put(credits.loans, name, loan)}

  defp count(credits, what, count), do: %{credits | tally: Map.update!(credits.tally, what, &(&1 + count))}

  defp tenant(credits, tenant, count) do
    case held_of(credits, tenant) + count do
      0 -> %{credits | of_tenant: Map.delete(credits.of_tenant, tenant)}
      held -> %{credits | of_tenant: Map.put(credits.of_tenant, tenant, held)}
    end
  end
end
