defmodule Kantoku.Engine.Elixir.Pool.Quota do
  # Limits of rate: token buckets as the generic cell rate algorithm has them (ITU-T I.371), one number each, the time at which the
  # bucket will be full again. Times here are ns times the quota's rate a minute, so that all is exact in whole numbers.
  #
  #   * A request passes if it passes every quota that it is under.
  #   * What costs more than the whole burst passes when the bucket is full, and leaves it in debt.
  #   * A quota that stays the same over a change of configuration keeps its buckets; another begins full.
  @moduledoc false

  @minute 60_000_000_000
  @least_sweep 64

  # For so many ns a tenant counts as there, and so many of them are counted.
  @lately 10_000_000_000
  @most_lately 256

  defstruct quotas: [], buckets: %{}, lately: %{}, sweep_at: @least_sweep

  @type t :: %__MODULE__{quotas: [Kantoku.Engine.Pools.quota()], buckets: map, lately: map, sweep_at: pos_integer}

  @spec configure(t, [Kantoku.Engine.Pools.quota()]) :: t
  def configure(quota, quotas) do
    buckets = Map.filter(quota.buckets, fn {{of, _tenant}, _full} -> of in quotas end)
    %{quota | quotas: quotas, buckets: buckets}
  end

  @doc "Whether a request may pass every quota that it is under; if not, the ms until it may, rounded up."
  @spec check(t, Kantoku.Engine.Pools.tenant(), pos_integer, integer) :: :ok | {:error, pos_integer}
  def check(quota, tenant, cost, now) do
    case quota |> under(tenant) |> Enum.map(&excess(quota, &1, tenant, cost, now)) |> Enum.max(fn -> 0 end) do
      0 -> :ok
      ms -> {:error, ms}
    end
  end

  @doc "How many requests of a cost may pass at once, of which the tenant and all were promised so many."
  @spec passes(t, Kantoku.Engine.Pools.tenant(), pos_integer, integer, {non_neg_integer, non_neg_integer}) ::
          non_neg_integer | :infinity
  def passes(quota, tenant, cost, now, {own, all}) do
    quota
    |> under(tenant)
    |> Enum.map(fn {who, _what, _rate, _burst} = of ->
      max(passing(quota, of, tenant, cost, now) - if(who == :pool, do: all, else: own), 0)
    end)
    |> Enum.min(fn -> :infinity end)
  end

  defp passing(quota, {_who, what, rate, burst} = of, tenant, cost, now) do
    cost = cost(what, cost)
    spare = (burst - min(cost, burst)) * @minute - (filled(quota, of, tenant, now) - now * rate)

    cond do
      spare < 0 -> 0
      cost > burst -> 1
      true -> div(spare, cost * @minute) + 1
    end
  end

  @doc "Takes a request's cost from every bucket that it is under."
  @spec charge(t, Kantoku.Engine.Pools.tenant(), pos_integer, integer) :: t
  def charge(quota, tenant, cost, now) do
    quota |> under(tenant) |> Enum.reduce(note(quota, tenant, now), &take(&2, &1, tenant, cost, now)) |> sweep(now)
  end

  # A tenant with limits of its own is there.
  defp note(%{lately: lately} = quota, tenant, now) do
    known? = is_map_key(lately, tenant) or map_size(lately) < @most_lately
    if known? and limits?(quota, tenant), do: %{quota | lately: Map.put(lately, tenant, now)}, else: quota
  end

  defp under(quota, tenant), do: Enum.filter(quota.quotas, &under?(&1, tenant))

  defp under?({{:tenant, whose}, _what, _rate, _burst}, tenant), do: whose === tenant
  defp under?(_of_all, _tenant), do: true

  defp excess(quota, {_who, what, rate, burst} = of, tenant, cost, now) do
    cost = cost(what, cost)
    excess = filled(quota, of, tenant, now) + cost * @minute - max(burst, cost) * @minute - now * rate
    if excess <= 0, do: 0, else: div(excess - 1, rate * 1_000_000) + 1
  end

  defp take(quota, {_who, what, _rate, _burst} = of, tenant, cost, now) do
    full = filled(quota, of, tenant, now) + cost(what, cost) * @minute
    %{quota | buckets: Map.put(quota.buckets, bucket(of, tenant), full)}
  end

  # When the bucket is full again; now, if it is.
  defp filled(quota, {_who, _what, rate, _burst} = of, tenant, now) do
    quota.buckets |> Map.get(bucket(of, tenant), now * rate) |> max(now * rate)
  end

  defp bucket({:each, _what, _rate, _burst} = of, tenant), do: {of, tenant}
  defp bucket(of, _tenant), do: {of, :all}

  defp cost(:requests, _cost), do: 1
  defp cost(:tokens, cost), do: cost

  @doc "Whether a tenant has limits of its own."
  @spec limits?(t, Kantoku.Engine.Pools.tenant()) :: boolean
  def limits?(quota, tenant), do: limits(quota, tenant) != []

  defp limits(quota, tenant), do: quota |> under(tenant) |> Enum.reject(&(elem(&1, 0) == :pool))

  @doc """
  How many requests a minute the quotas of tenants let through, of those tenants that came lately, if a request costs so many thousandths. A
  tenant under several has the least. 0: nobody knows, as too many came.
  """
  @spec let_through(t, non_neg_integer) :: non_neg_integer
  def let_through(%{lately: lately}, _cost) when map_size(lately) >= @most_lately, do: 0

  def let_through(quota, cost) do
    quota.lately
    |> Map.keys()
    |> Enum.map(fn tenant ->
      quota |> limits(tenant) |> Enum.map(&requests_per_minute(&1, cost)) |> Enum.min(fn -> 0 end)
    end)
    |> Enum.sum()
  end

  @doc "Forgets tenants that have not been there for a while."
  @spec tick(t, integer) :: t
  def tick(%{lately: lately} = quota, _now) when lately == %{}, do: quota
  def tick(quota, now), do: %{quota | lately: Map.filter(quota.lately, fn {_tenant, at} -> at > now - @lately end)}

  defp requests_per_minute({_who, :requests, rate, _burst}, _cost), do: rate
  defp requests_per_minute({_who, :tokens, rate, _burst}, cost), do: div(rate * 1_000, max(cost, 1))

  # A full bucket says nothing. They go when there are twice as many as were left the last time: tenants that stay away
  # take no room for long, and each request pays for little of it.
  defp sweep(quota, _now) when map_size(quota.buckets) < quota.sweep_at, do: quota

  defp sweep(quota, now) do
    buckets = Map.filter(quota.buckets, fn {{{_who, _what, rate, _burst}, _tenant}, full} -> full > now * rate end)
    %{quota | buckets: buckets, sweep_at: max(2 * map_size(buckets), @least_sweep)}
  end
end
