defmodule Kantoku.Resources.Census do
  # What was found of some agents, as sums by domain and as the first of each kind. Two of them make one. Pure.
  @moduledoc false

  @kinds [:memory, :heap, :reductions, :mailbox, :binaries]
  @summed [:memory, :heap, :binaries, :mailbox, :reductions]

  @enforce_keys [:limit]
  defstruct @enforce_keys ++ [sums: %{}, tops: Map.new(@kinds, &{&1, []})]

  @type kind :: :memory | :heap | :reductions | :mailbox | :binaries

  @typedoc "`reductions` are those a second since the look before, `nil` at the first; `at` is its monotonic ms."
  @type entry :: %{
          id: term,
          domain: Kantoku.Domain.name(),
          pid: pid,
          memory: non_neg_integer,
          heap: non_neg_integer,
          binaries: non_neg_integer,
          mailbox: non_neg_integer,
          reductions: non_neg_integer | nil,
          at: integer
        }

  @type sums :: %{
          agents: non_neg_integer,
          memory: non_neg_integer,
          heap: non_neg_integer,
          binaries: non_neg_integer,
          mailbox: non_neg_integer,
          reductions: non_neg_integer
        }

  @type t :: %__MODULE__{limit: pos_integer, sums: %{Kantoku.Domain.name() => sums}, tops: %{kind => [entry]}}

  @doc "What there is a first of."
  @spec kinds() :: [kind, ...]
  def kinds, do: @kinds

  @doc "Nobody."
  @spec new(pos_integer) :: t
  def new(limit), do: %__MODULE__{limit: limit}

  @doc "Of some agents."
  @spec of([entry], pos_integer) :: t
  def of(entries, limit) do
    sums =
      Enum.reduce(entries, %{}, fn entry, sums -> Map.update(sums, entry.domain, own(entry), &add(&1, own(entry))) end)

    %__MODULE__{limit: limit, sums: sums, tops: Map.new(@kinds, &{&1, first(entries, &1, limit)})}
  end

  @doc "Of both, who have nobody in common."
  @spec join(t, t) :: t
  def join(one, other) do
    sums = Map.merge(one.sums, other.sums, fn _domain, left, right -> add(left, right) end)
    %{one | sums: sums, tops: join_tops(one.tops, other.tops, one.limit)}
  end

  @doc "The first of both, who have nobody in common."
  @spec join_tops(%{kind => [entry]}, %{kind => [entry]}, pos_integer) :: %{kind => [entry]}
  def join_tops(one, other, limit),
    do: Map.merge(one, other, fn kind, left, right -> first(left ++ right, kind, limit) end)

  @doc "No agent's."
  @spec nothing() :: sums
  def nothing, do: Map.new([:agents | @summed], &{&1, 0})

  @spec add(sums, sums) :: sums
  def add(one, other), do: Map.merge(one, other, fn _figure, left, right -> left + right end)

  defp own(entry), do: Map.new([{:agents, 1} | Enum.map(@summed, &{&1, Map.fetch!(entry, &1) || 0})])

  # Who has nothing of it is not among the first.
  defp first(entries, kind, limit) do
    entries
    |> Enum.filter(&(Map.fetch!(&1, kind) not in [nil, 0]))
    |> Enum.sort_by(&Map.fetch!(&1, kind), :desc)
    |> Enum.take(limit)
  end
end
