defmodule Kantoku.Pool.Pace do
  # How often a pool's foreman looks at it, in ms. Asks nobody.
  @moduledoc false

  alias Kantoku.Pool.{Config, Quota, Usage}

  # While someone waits, be it for credits, or the pool is overloaded, as the engine wants it, and while one that scales itself is at work, as one look is
  # only one sample; the most otherwise; and the least.
  @fast 100
  @slow 1_000
  @fastest 20

  @spec fast() :: pos_integer
  def fast, do: @fast

  @spec fastest() :: pos_integer
  def fastest, do: @fastest

  @doc "By what the engine says, and four times over in whatever the options wait for."
  @spec of(Config.t(), map) :: pos_integer
  def of(%{scaling: %{}} = config, %{ongoing: ongoing}) when ongoing > 0, do: min(slow(config), @fast)
  def of(config, %{wishes: wishes}) when wishes > 0, do: min(slow(config), @fast)
  def of(config, %{queue: 0, overloaded: 0}), do: slow(config)
  def of(config, _busy), do: min(slow(config), @fast)

  defp slow(config) do
    [
      config.overflow_linger,
      config.idle_timeout,
      config.max_lifetime,
      config.abandon_timeout,
      config.start_timeout,
      bucket(config),
      outside(config),
      usage(config)
    ]
    |> Enum.filter(&is_integer/1)
    |> Enum.map(&div(&1, 4))
    |> Enum.min()
    |> max(@fastest)
    |> min(@slow)
  end

  defp bucket(%{scaling: %{forecast: %{bucket: bucket}}}), do: bucket
  defp bucket(_config), do: nil

  # What workers use is looked at in its own rhythm.
  defp usage(config), do: if(Quota.used?(config.quotas), do: 4 * Usage.rhythm())

  # What a user's function reads may change while the pool is idle.
  defp outside(%{scaling: %{metrics: metrics}}), do: if(Enum.any?(metrics, & &1.read), do: @slow)
  defp outside(_config), do: nil
end
