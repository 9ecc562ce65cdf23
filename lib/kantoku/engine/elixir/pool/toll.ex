defmodule Kantoku.Engine.Elixir.Pool.Toll do
  # How a worker's requests ended within an interval; failures in a row are counted on. Judges nobody.
  @moduledoc false

  defstruct requests: 0, failures: 0, consecutive: 0, timed: 0, logs: 0

  @type t :: %__MODULE__{
          requests: non_neg_integer,
          failures: non_neg_integer,
          consecutive: non_neg_integer,
          timed: non_neg_integer,
          logs: non_neg_integer
        }

  @spec succeeded(t) :: t
  def succeeded(toll), do: %{toll | requests: toll.requests + 1, consecutive: 0}

  @spec failed(t) :: t
  def failed(toll),
    do: %{toll | requests: toll.requests + 1, failures: toll.failures + 1, consecutive: toll.consecutive + 1}

  @doc """
  It had a request for so many ns. The upper half of a float is its exponent and the first bits after it: read as a number, its
  logarithm to base 2 with a straight line between powers, at most 6 % off. So a mean of it is as good as geometric.
  """
  @spec took(t, non_neg_integer) :: t
  def took(toll, held) do
    <<log::32, _rest::32>> = <<max(held, 1) * 1.0::float>>
    %{toll | timed: toll.timed + 1, logs: toll.logs + log}
  end

  @doc "Another interval."
  @spec begin(t) :: t
  def begin(toll), do: %__MODULE__{consecutive: toll.consecutive}

  @doc "In percent."
  @spec success_rate(t) :: float
  def success_rate(toll), do: 100.0 * (toll.requests - toll.failures) / toll.requests

  @doc "In us. One slow request among ten hardly moves it."
  @spec mean(t) :: non_neg_integer
  def mean(toll) do
    <<mean::float>> = <<div(toll.logs, toll.timed)::32, 0::32>>
    trunc(mean / 1_000.0)
  end
end
