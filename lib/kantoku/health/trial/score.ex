defmodule Kantoku.Health.Trial.Score do
  # What a trial found, counted, and the marks that it has to reach. Pure.
  @moduledoc false

  alias Kantoku.Health.Trial.Parameters

  # In percent; and periods after the limit was passed.
  @of_each 99.0
  @overall 99.9
  @late 2.0

  # Of these no event is expected, and of these one before the limit.
  @well [:idle, :busy, :waiting]
  @foreseen [:leaking, :flooded]

  @enforce_keys [:matrix, :delays, :restarted, :overdue]
  defstruct @enforce_keys

  @type found :: %{
          class: Parameters.class(),
          verdict: Parameters.class() | :other,
          delay: float | nil,
          restarted: :no | :within | :beyond
        }

  @typedoc """
  How many of each class were taken for which; how late each was found, in periods after its limit was passed (below 0: before); how many
  were restarted within their limits; how many that were to stay within theirs did not, as the machine was too slow for them.
  """
  @type t :: %__MODULE__{
          matrix: %{{Parameters.class(), Parameters.class() | :other} => pos_integer},
          delays: %{Parameters.class() => [float]},
          restarted: non_neg_integer,
          overdue: non_neg_integer
        }

  @spec of([found]) :: t
  def of(found) do
    %__MODULE__{
      matrix: Enum.frequencies_by(found, &{&1.class, &1.verdict}),
      delays: for(%{delay: delay} = one when delay != nil <- found, do: one) |> Enum.group_by(& &1.class, & &1.delay),
      restarted: Enum.count(found, &(&1.restarted == :within)),
      overdue: Enum.count(found, &(&1.restarted == :beyond and &1.class in @well))
    }
  end

  @doc "Of those that are of a class, the percentage that was taken for it."
  @spec recall(t, Parameters.class()) :: float
  def recall(%{matrix: matrix}, class), do: share(matrix, &(&1 == {class, class}), &match?({^class, _verdict}, &1))

  @doc "Of those that were taken for a class, the percentage that is of it."
  @spec precision(t, Parameters.class()) :: float
  def precision(%{matrix: matrix}, class), do: share(matrix, &(&1 == {class, class}), &match?({_class, ^class}, &1))

  @doc "The percentage of all that was taken for what it is."
  @spec accuracy(t) :: float
  def accuracy(%{matrix: matrix}), do: share(matrix, fn {class, verdict} -> class == verdict end, fn _all -> true end)

  @doc "Precision and recall of `:at_risk`: that it is said of those that grow towards a limit, whatever the sign."
  @spec foresight(t) :: {precision :: float, recall :: float}
  def foresight(%{matrix: matrix}) do
    both = fn {class, verdict} -> class in @foreseen and verdict in @foreseen end
    {share(matrix, both, &(elem(&1, 1) in @foreseen)), share(matrix, both, &(elem(&1, 0) in @foreseen))}
  end

  defp share(matrix, right?, counted?) do
    count = fn which? -> for({cell, count} <- matrix, which?.(cell), do: count) |> Enum.sum() end
    all = count.(counted?)
    if all == 0, do: 100.0, else: 100 * count.(right?) / all
  end

  @doc "The delay that so many percent of a class do not exceed."
  @spec percentile([float, ...], 0..100) :: float
  def percentile(delays, percent) do
    sorted = Enum.sort(delays)
    Enum.at(sorted, max(ceil(length(sorted) * percent / 100) - 1, 0))
  end

  @doc "The marks that were missed, as sentences."
  @spec missed(t) :: [String.t()]
  def missed(score) do
    for(class <- Parameters.classes(), text <- of_class(score, class), do: text) ++
      below("overall", accuracy(score), @overall) ++
      if(score.restarted > 0, do: ["#{score.restarted} agents within their limits were restarted"], else: [])
  end

  defp of_class(%{delays: delays} = score, class) do
    below("recall of #{class}", recall(score, class), @of_each) ++
      below("precision of #{class}", precision(score, class), @of_each) ++ late(class, delays[class])
  end

  defp below(what, percent, mark), do: if(percent < mark, do: ["#{what}: #{text(percent)} < #{text(mark)} %"], else: [])

  defp late(_class, nil), do: []

  defp late(class, delays) do
    most = Enum.max(delays)

    if most > @late,
      do: ["#{class} found #{text(most)} periods after the limit was passed, more than #{text(@late)}"],
      else: []
  end

  @doc "A number as people read it."
  @spec text(number) :: String.t()
  def text(number), do: :erlang.float_to_binary(number * 1.0, decimals: 2)
end
