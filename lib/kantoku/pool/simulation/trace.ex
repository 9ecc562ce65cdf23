defmodule Kantoku.Pool.Simulation.Trace do
  @moduledoc """
  A load in simulated time: rates of arrival that hold for a while, or single arrivals, each with the time it takes to serve.

      iex> alias Kantoku.Pool.Simulation.Trace
      iex> trace = Trace.rates([{0, 2.0, 80}, {1_000, 4.0, 80}], 2_000)
      iex> {arrivals, _rest} = Trace.take(trace, 2_000)
      iex> for {at, 80} <- arrivals, do: round(at)
      [500, 1000, 1250, 1500, 1750, 2000]

  Times are in ms, rates in arrivals per second. Arrivals are `:even`, or `{:poisson, seed}`: independent of each other, the
  same for the same seed. The shapes (`step/1`, `ramp/1`, `sine/1`, `square/1`, `daily/1`) take these options:

    * `low`, `high` - arrivals/s at least and at most (2 and 20);
    * `period` - ms (3,600,000; of `daily/1` a day), and `periods`, how many of them (10);
    * `service` - ms that a request takes (1,000);
    * `arrivals` - `:even` (default) or `{:poisson, seed}`;
    * `noise` - of `daily/1`: the relative standard deviation of the rate (0.05), with `seed` (1).
  """

  @enforce_keys [:until]
  defstruct [:until, at: 0, rates: [], singles: [], spread: :even, left: 1.0, rand: nil]

  @typedoc "A load, and how far it has been taken. `left`: how much of an arrival is due until the next."
  @type t :: %__MODULE__{
          until: number,
          at: number,
          rates: [{from :: number, per_second :: number, service :: number}],
          singles: [{at :: number, service :: number}],
          spread: :even | :poisson,
          left: float,
          rand: term
        }

  @defaults [low: 2, high: 20, period: 3_600_000, periods: 10, service: 1_000, arrivals: :even, noise: 0.05, seed: 1]
  @day 86_400_000
  @grains 120

  @doc "A load of rates, each from its time until the next one's, the last until `until`."
  @spec rates([{number, number, number}, ...], number, :even | {:poisson, integer}) :: t
  def rates([{first, _, _} | _] = rates, until, arrivals \\ :even) do
    drawn(%__MODULE__{until: until, at: first, rates: rates}, arrivals)
  end

  @doc "A load of single arrivals, `{ms, service time}`, in order of time. It ends when the last could have been served."
  @spec singles([{number, number}, ...], number | nil) :: t
  def singles([{first, _} | _] = arrivals, until \\ nil) do
    {last, service} = List.last(arrivals)
    %__MODULE__{until: until || last + service, at: first, singles: arrivals}
  end

  @doc "The arrivals until `to` (ms, it included), in order, and the load from there on."
  @spec take(t, number) :: {[{at :: number, service :: number}], t}
  def take(%__MODULE__{rates: []} = trace, to) do
    {taken, rest} = Enum.split_while(trace.singles, fn {at, _} -> at <= to end)
    {taken, %{trace | singles: rest, at: to}}
  end

  def take(trace, to), do: take(trace, to, [])

  @doc "Low for a quarter of each period, then high to its end."
  @spec step(keyword) :: t
  def step(options \\ []), do: shape(options, &if(&1 < 0.25, do: 0.0, else: 1.0))

  @doc "Climbs from low to high in each period, then falls at once."
  @spec ramp(keyword) :: t
  def ramp(options \\ []), do: shape(options, & &1)

  @doc "Between low and high and back in each period, as a sine does."
  @spec sine(keyword) :: t
  def sine(options \\ []), do: shape(options, &((1 - :math.cos(2 * :math.pi() * &1)) / 2))

  @doc "Half of each period low, half high."
  @spec square(keyword) :: t
  def square(options \\ []), do: shape(options, &if(&1 < 0.5, do: 0.0, else: 1.0))

  @doc """
  Days of an office: quiet until eight, full within half an hour, fewer at noon, gone by seven. Each moment's rate is off by
  noise.
  """
  @spec daily(keyword) :: t
  def daily(options \\ []) do
    options = Keyword.merge([period: @day], options)
    trace = shape(options, &office(24 * &1))
    {noise, seed} = {option(options, :noise), option(options, :seed)}
    {rates, _rand} = Enum.map_reduce(trace.rates, :rand.seed_s(:exsss, seed), &noisy(&1, &2, noise))
    %{trace | rates: rates}
  end

  defp noisy({from, rate, service}, rand, noise) do
    {normal, rand} = :rand.normal_s(rand)
    {{from, max(0.0, rate * (1 + noise * normal)), service}, rand}
  end

  @office [{0, 0.02}, {8, 0.05}, {8.5, 0.95}, {11.5, 1.0}, {12.5, 0.7}, {13.5, 0.95}, {17, 0.85}, {19, 0.1}, {24, 0.02}]

  defp office(hour) do
    [{from, low}, {to, high}] = Enum.chunk_every(@office, 2, 1, :discard) |> Enum.find(fn [_, {to, _}] -> hour < to end)
    low + (high - low) * (hour - from) / (to - from)
  end

  defp shape(options, height) do
    [low, high, period, periods, service] = Enum.map([:low, :high, :period, :periods, :service], &option(options, &1))
    grain = period / @grains

    rates =
      for index <- 0..(periods * @grains - 1) do
        {index * grain, low + (high - low) * height.(rem(index, @grains) / @grains), service}
      end

    rates(rates, periods * period, option(options, :arrivals))
  end

  defp option(options, name), do: Keyword.get(options, name, @defaults[name])

  defp drawn(trace, :even), do: trace
  defp drawn(trace, {:poisson, seed}), do: draw(%{trace | spread: :poisson, rand: :rand.seed_s(:exsss, seed)})

  defp draw(%{spread: :even} = trace), do: %{trace | left: 1.0}

  defp draw(%{spread: :poisson} = trace) do
    {uniform, rand} = :rand.uniform_real_s(trace.rand)
    %{trace | left: -:math.log(uniform), rand: rand}
  end

  # Walks from change to change of the rate, and puts an arrival wherever the rates so far add up to the next.
  defp take(%{at: at, until: until} = trace, to, taken) when at >= to or at >= until, do: {Enum.reverse(taken), trace}

  defp take(%{rates: [{_, rate, service} | later]} = trace, to, taken) do
    change = min(trace.until, change(later))
    due = if rate > 0, do: trace.at + trace.left * 1_000 / rate, else: :never

    cond do
      due <= min(change, to) -> take(draw(%{trace | at: due}), to, [{due, service} | taken])
      change <= to -> take(passed(%{trace | rates: rest(later, trace)}, trace.at, change, rate), to, taken)
      true -> {Enum.reverse(taken), passed(trace, trace.at, to, rate)}
    end
  end

  defp change([]), do: :never
  defp change([{from, _, _} | _]), do: from

  defp rest([], trace), do: trace.rates
  defp rest(later, _trace), do: later

  defp passed(trace, from, to, rate), do: %{trace | at: to, left: trace.left - rate * (to - from) / 1_000}
end
