defmodule Kantoku.Pool.Ejection do
  @moduledoc """
  When a pool's worker is ejected, that is given nothing new for a while, and for how long: the option `:ejection` of
  `Kantoku.Pool`.

      ejection: [consecutive_failures: 3, base_ejection_time: 10_000]

  `true` is all defaults, `false` nobody but by hand (`Kantoku.Pool.eject/3`), `:observe` is `enforcing: false`. It is what Envoy
  calls outlier detection (config.cluster.v3.OutlierDetection), with its names, meanings and defaults. A worker finishes what it
  has, comes back by itself (`Kantoku.Pool.SlowStart`), and is let in at once by `Kantoku.Pool.readmit/2`.

  ## What counts

  What a breaker of the pool would record: a call that was answered, and what was checked in as `:ok`, is a success, whatever the
  answer says; a call that timed out after a worker had begun, a worker's death, and what was checked in as `:error` or
  `:abandoned` (so, too, a function of `Kantoku.Pool.run/3` that raised), is a failure. Refusals and casts are neither.

  ## Slow workers

  Envoy has nothing for these. A worker is slow if, over an interval, its requests took more than `latency_multiple` times as long
  as the median worker's, and more than `latency_floor`. The mean of a worker is geometric, as times of requests differ by orders
  of magnitude and one that took an hour must not outweigh nine that took none; the median of the pool is not moved by the slow
  ones. Five times, and a tenth of a second, are well beyond what chance, collections of garbage and a busy machine do to a mean
  of ten, and below what a worker does that swaps or waits for a dead peer. Under `strategy: :hash` nobody is ejected for it: who
  gets which key is no chance. `latency_multiple: false` switches it off, as is right where workers are given unlike work on
  purpose.

  ## Options

  #{Kantoku.Options.docs(Kantoku.Pool.Ejection.Schema.options())}
  """

  alias Kantoku.{Engine, Options}
  alias Kantoku.Pool.Ejection.Schema

  @enforce_keys Keyword.keys(Schema.options())
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          enforcing: boolean,
          consecutive_failures: pos_integer | false,
          interval: pos_integer,
          base_ejection_time: pos_integer,
          max_ejection_time: pos_integer,
          max_ejection_time_jitter: non_neg_integer,
          max_ejection_percent: 1..100,
          success_rate_minimum_hosts: pos_integer,
          success_rate_request_volume: pos_integer,
          success_rate_stdev_factor: pos_integer | false,
          latency_minimum_hosts: pos_integer,
          latency_request_volume: pos_integer,
          latency_multiple: pos_integer | false,
          latency_floor: non_neg_integer
        }

  # What a count of the engine takes.
  @most 0xFFFFFFFF

  @doc false
  @spec merge!(t | nil, t | nil | boolean | :observe | map, String.t()) :: t | nil
  def merge!(_config, %__MODULE__{} = config, _where), do: config
  def merge!(_config, off, _where) when off in [false, nil], do: nil
  def merge!(config, true, where), do: merge!(config, %{enforcing: true}, where)
  def merge!(config, :observe, where), do: merge!(config, %{enforcing: false}, where)

  def merge!(nil, given, where) do
    where = where <> ", option :ejection"
    __MODULE__ |> struct!(Options.validate!(Map.to_list(given), Schema.options(), where)) |> check!(where)
  end

  def merge!(config, given, where) do
    where = where <> ", option :ejection"
    config |> struct!(Options.validate_given!(Map.to_list(given), Schema.options(), where)) |> check!(where)
  end

  defp check!(config, where) do
    for {name, value} when is_integer(value) and value > @most <- Map.from_struct(config) do
      raise ArgumentError, "#{where}, option #{inspect(name)}: expected at most #{@most}, got: #{value}"
    end

    config
  end

  @doc false
  @spec for_engine(t | nil) :: Engine.Pools.Standing.ejection() | nil
  def for_engine(nil), do: nil

  def for_engine(config) do
    {enforced, config} = config |> Map.from_struct() |> Map.pop!(:enforcing)

    config
    |> Map.put(:enforced, enforced)
    |> Map.update!(:consecutive_failures, &count/1)
    |> Map.update!(:success_rate_stdev_factor, &count/1)
    |> Map.update!(:latency_multiple, &count/1)
  end

  defp count(false), do: 0
  defp count(count), do: count
end
