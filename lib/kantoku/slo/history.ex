defmodule Kantoku.SLO.History do
  # How many calls were good and how many bad, lately. Pure; times are ms of system time.
  #
  # Each window has a ring of up to 100 buckets of one width, so memory is bounded whatever comes, and a window is forgotten in
  # steps of a hundredth.
  #
  # H1  What a window says counts every call that came within it less two widths, each once, and none from before it.
  # H2  A clock that is set back takes nothing away: what was counted keeps its age.
  @moduledoc false

  @buckets 100

  # Up to here a clock that goes back is held still, in ms.
  @tolerance 1_000

  @enforce_keys [:since, :at, :rings]
  defstruct @enforce_keys

  @type window :: pos_integer
  @type counts :: {good :: non_neg_integer, bad :: non_neg_integer}
  @type t :: %__MODULE__{
          since: integer,
          at: integer,
          rings: %{window => {width :: pos_integer, %{integer => counts}}}
        }

  @spec new([window], integer) :: t
  def new(windows, now), do: %__MODULE__{since: now, at: now, rings: Map.new(windows, &{&1, {width(&1), %{}}})}

  defp width(window), do: max(div(window + @buckets - 1, @buckets), 1)

  @doc "Counts calls that ended just now."
  @spec add(t, integer, non_neg_integer, non_neg_integer) :: t
  def add(history, _now, 0, 0), do: history

  def add(history, now, good, bad) do
    %{at: at, rings: rings} = history = catch_up(history, now)
    %{history | rings: Map.new(rings, fn {window, ring} -> {window, count(ring, window, at, good, bad)} end)}
  end

  defp count({width, counts}, window, at, good, bad) do
    index = Integer.floor_div(at, width)
    {width, counts |> forget(index, window, width) |> Map.update(index, {good, bad}, &plus(&1, {good, bad}))}
  end

  # Only a new bucket takes the place of old ones.
  defp forget(counts, index, _window, _width) when is_map_key(counts, index), do: counts
  defp forget(counts, index, window, width), do: Map.filter(counts, fn {at, _} -> at > index - kept(window, width) end)

  defp kept(window, width), do: div(window, width)
  defp plus({good, bad}, {more, worse}), do: {good + more, bad + worse}

  defp catch_up(%{at: at} = history, now) when now >= at, do: %{history | at: now}
  defp catch_up(%{at: at} = history, now) when at - now <= @tolerance, do: history

  defp catch_up(%{at: at, since: since} = history, now) do
    rings = Map.new(history.rings, fn {window, ring} -> {window, set_back(ring, at, now)} end)
    %{history | at: now, since: since - (at - now), rings: rings}
  end

  defp set_back({width, counts}, at, now) do
    by = Integer.floor_div(at, width) - Integer.floor_div(now, width)
    {width, Map.new(counts, fn {index, count} -> {index - by, count} end)}
  end

  @doc "The counts of a window that ends now."
  @spec total(t, window, integer) :: counts
  def total(history, window, now) do
    {width, counts} = Map.fetch!(history.rings, window)
    first = first(history, window, width, now)
    for {index, count} <- counts, index >= first, reduce: {0, 0}, do: (total -> plus(total, count))
  end

  @doc "The buckets of a window that ends now, oldest first, with those in which nothing came."
  @spec buckets(t, window, integer) :: [%{at: integer, until: integer, good: non_neg_integer, bad: non_neg_integer}]
  def buckets(history, window, now) do
    {width, counts} = Map.fetch!(history.rings, window)
    first = first(history, window, width, now)

    for index <- first..(first + kept(window, width) - 1) do
      {good, bad} = Map.get(counts, index, {0, 0})
      %{at: index * width, until: (index + 1) * width, good: good, bad: bad}
    end
  end

  defp first(%{at: at}, window, width, now), do: Integer.floor_div(max(at, now), width) - kept(window, width) + 1

  @doc "For other windows: those that were there stay, others are made of the finest that reaches as far, or of the longest."
  @spec resize(t, [window]) :: t
  def resize(%{rings: rings, at: at} = history, windows) do
    wanted = Map.new(windows, fn window -> {window, rings[window] || made_of(rings, window, at)} end)
    %{history | rings: wanted}
  end

  defp made_of(rings, window, at) do
    {_window, {width, counts}} = Enum.min_by(rings, fn {other, _} -> {other < window, abs(other - window)} end)

    to = width(window)

    made =
      for {index, count} <- counts, reduce: %{} do
        made -> Map.update(made, Integer.floor_div(min(index * width, at), to), count, &plus(&1, count))
      end

    {to, made}
  end
end
