defmodule Kantoku.Pool.Scaler.Headroom do
  @moduledoc """
  How many more workers a pool can use before a quota, not its size, is what holds work back.

  A scaler that sees requests wait or be refused wants more workers. Where a quota refuses them, more workers would stand
  idle: the limit cannot be lifted by size. The least of what the quotas leave goes into the observation as `headroom`, its
  quota as `limited_by`.

      iex> alias Kantoku.Pool.Scaler.Headroom
      iex> Headroom.least(10, workers: 40, memory: {2_000_000_000, 150_000_000}, requests: {600, 1_500})
      {3, :memory}
      iex> Headroom.least(10, [])
      {:infinity, nil}
  """

  @typedoc """
    * `workers: n` - the most workers;
    * `memory: {bytes, bytes_per_worker}`, `cpu: {percent, percent_per_worker}` - what they may use together, and what one uses;
    * `requests: {per_minute, service_time}` - a rate that admission lets through, and ms that a worker has each request
      (for a quota of tokens: its rate divided by the tokens of a request);
    * `tenants: {per_minute, service_time}` - the same of the quotas of all tenants that send anything;
    * `quota: n` - that many more, as quotas refuse what comes now.
  """
  @type quota ::
          {:workers, non_neg_integer}
          | {:memory | :cpu, {number, number}}
          | {:requests | :tenants, {per_minute :: number, service_time :: number}}
          | {:quota, non_neg_integer}

  # Requests come unevenly, so workers that are busy all the time would let some wait (Knative aims at 70 % busy).
  @busy 0.7

  @doc "How many workers the quotas leave beyond `size`, and which of them leaves least. Never below 0: a quota shrinks no pool."
  @spec least(non_neg_integer, [quota]) :: {non_neg_integer | :infinity, atom | nil}
  def least(size, quotas) do
    quotas
    |> Enum.map(fn {name, _} = quota -> {more(quota, size), name} end)
    |> Enum.min(fn -> {:infinity, nil} end)
  end

  defp more({:quota, more}, _size), do: more
  defp more(quota, size), do: max(0, most(quota) - size)

  defp most({:workers, most}), do: most
  defp most({used, {most, each}}) when used in [:memory, :cpu] and each > 0, do: floor(most / each)

  defp most({rate, {per_minute, service_time}}) when rate in [:requests, :tenants],
    do: max(1, ceil(per_minute / 60_000 * service_time / @busy))
end
