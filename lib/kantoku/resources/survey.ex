defmodule Kantoku.Resources.Survey do
  # What the lookout's walk over all agents finds of their resources (`Kantoku.Health.Lookout`): slice by slice, until the walk is through. Run
  # by the lookout, but for `look/3`, which its readers run. Knows no limit and judges nobody.
  #
  # S1  Sums are published of a walk that is through, and of each agent that it passed once. One of which a slice comes too late, as its
  #     reader was held up, has none: those before stand, and their age says so.
  # S2  Who is published among the first was found by this walk; or by the one before, if this one has not come to it yet.
  @moduledoc false

  alias Kantoku.Resources.{Board, Census, Figures}

  @enforce_keys [:board, :limit, :current, :last]
  defstruct @enforce_keys ++ [walk: 0, began: nil, start: nil, before: nil, ended?: true, out: 0]

  @type t :: %__MODULE__{}

  @doc "For an instance; `nil` if it is not wanted."
  @spec new(:ets.tid()) :: t | nil
  def new(book) do
    with limit when limit != nil <- Board.limit(book) do
      %__MODULE__{board: Board.of(book), limit: limit, current: Census.new(limit), last: Census.new(limit)}
    end
  end

  @doc "A walk begins."
  @spec begin(t | nil) :: t | nil
  def begin(nil), do: nil

  def begin(survey) do
    survey = abandon(survey)
    now = now()
    current = Census.new(survey.limit)

    walk = %{
      walk: survey.walk + 1,
      began: now,
      start: now,
      before: survey.start,
      ended?: false,
      out: 0,
      current: current
    }

    Map.merge(survey, walk)
  end

  # Whoever is late may still be there; who was passed by for two walks is not.
  defp abandon(%{began: nil} = survey), do: survey

  defp abandon(%{board: board, before: before, current: current} = survey) do
    if before, do: Board.sweep(board, before)
    %{survey | last: %{current | tops: tops(survey)}}
  end

  @doc "A slice was given to a reader."
  @spec sent(t | nil) :: t | nil
  def sent(nil), do: nil
  def sent(survey), do: %{survey | out: survey.out + 1}

  @doc "Looks at some agents: what they use, as a slice of the survey, and of each what of that is a burden."
  @spec look(t, [{pid, {term, Kantoku.Domain.name()}}]) ::
          {{walk :: pos_integer, Census.t()}, [{pid, Kantoku.Health.Burden.t()}]}
  def look(%{board: board, limit: limit, walk: walk}, agents) do
    found =
      for {pid, agent} <- agents,
          {figures, burden} <- [Figures.of(pid)],
          do: {entry(board, pid, agent, figures), burden}

    {{walk, Census.of(Enum.map(found, &elem(&1, 0)), limit)}, for({entry, burden} <- found, do: {entry.pid, burden})}
  end

  defp entry(board, pid, {id, domain}, %{work: work} = figures) do
    now = now()
    own = %{id: id, domain: domain, pid: pid, reductions: Board.work(board, pid, work, now), at: now}
    figures |> Map.delete(:work) |> Map.merge(own)
  end

  @doc "Takes a slice in, and publishes what that changes."
  @spec take_in(t, {walk :: pos_integer, Census.t()}) :: t
  def take_in(%{walk: walk} = survey, {walk, slice}) do
    survey = %{survey | current: Census.join(survey.current, slice), out: survey.out - 1}
    Board.put_tops(survey.board, tops(survey))
    complete_if_all_came(survey)
  end

  def take_in(survey, _late), do: survey

  @doc "The walk is through."
  @spec ended(t | nil) :: t | nil
  def ended(nil), do: nil
  def ended(survey), do: complete_if_all_came(%{survey | ended?: true})

  defp complete_if_all_came(%{ended?: true, out: 0} = survey), do: complete(survey)
  defp complete_if_all_came(survey), do: survey

  # Whoever was not passed by it is gone.
  defp complete(%{board: board, began: began, current: current} = survey) do
    Board.put_sums(board, current.sums, now())
    Board.put_tops(board, current.tops)
    Board.sweep(board, began)
    %{survey | last: current, began: nil}
  end

  defp tops(%{current: current, last: last, board: board, began: began, limit: limit}) do
    earlier = Map.new(last.tops, fn {kind, entries} -> {kind, Enum.filter(entries, &unseen?(board, &1.pid, began))} end)
    Census.join_tops(current.tops, earlier, limit)
  end

  defp unseen?(board, pid, began) do
    at = Board.seen(board, pid)
    at != nil and at < began
  end

  defp now, do: System.monotonic_time(:millisecond)
end
