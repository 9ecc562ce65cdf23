defmodule Kantoku.Pool.SlowStart do
  @moduledoc """
  How a worker comes back after an ejection: with a part of its share that grows until it has all of it. The option `:slow_start` of
  `Kantoku.Pool`.

  The part is Envoy's ("Slow start mode") with an aggression of 1.0: the time since it came by the window, and no less than
  `min_weight_percent`. Whom the strategy would take is passed over with the rest of the chance, and the strategy's next one is taken:

    * `:round_robin`, `:random`, `:least_loaded`, `:power_of_two`, `:peak_ewma`: so it gets that part of what it would get;
    * `:lifo`: the one that became free last is passed over for the one before it. Who gets most gets most again after the window, or
      sooner where nothing else is free;
    * `:hash`, and modules: nobody is passed over. A key that was moved would move twice, and who chooses has chosen.

  A request never waits for this: where no other worker has a permit free, the one that has is given it. So it shows in a pool with
  workers to spare, and not in one that is full.

  ## Options

  #{Kantoku.Options.docs(Kantoku.Pool.SlowStart.Schema.options())}
  """

  alias Kantoku.{Engine, Options}
  alias Kantoku.Pool.SlowStart.Schema

  @enforce_keys Keyword.keys(Schema.options())
  defstruct @enforce_keys

  @type t :: %__MODULE__{slow_start_window: pos_integer, min_weight_percent: 1..100, fresh: boolean}

  @most 0xFFFFFFFF

  @doc false
  @spec merge!(t | nil, boolean | nil | map | t, String.t()) :: t | nil
  def merge!(_config, %__MODULE__{} = config, _where), do: config
  def merge!(_config, off, _where) when off in [false, nil], do: nil
  def merge!(%__MODULE__{} = config, true, _where), do: config
  def merge!(nil, true, where), do: merge!(nil, %{}, where)

  def merge!(config, given, where) do
    where = where <> ", option :slow_start"
    check = if config, do: &Options.validate_given!/3, else: &Options.validate!/3
    checked = check.(Map.to_list(given), Schema.options(), where)
    check!(if(config, do: struct!(config, checked), else: struct!(__MODULE__, checked)), where)
  end

  defp check!(%{slow_start_window: window} = config, _where) when window <= @most, do: config

  defp check!(%{slow_start_window: window}, where) do
    raise ArgumentError, "#{where}, option :slow_start_window: expected at most #{@most}, got: #{window}"
  end

  @doc false
  @spec for_engine(t | nil) :: Engine.Pools.Standing.slow_start() | nil
  def for_engine(nil), do: nil
  def for_engine(config), do: Map.from_struct(config)
end
