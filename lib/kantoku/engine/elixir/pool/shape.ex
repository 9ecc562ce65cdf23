defmodule Kantoku.Engine.Elixir.Pool.Shape do
  # Whether arguments have the shapes that Kantoku.Engine.Pools says; others are an ArgumentError, as of a native function.
  @moduledoc false

  alias Kantoku.Engine.Elixir.Pool.Ticket

  @strategies [:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :hash, :lifo]
  @most 1_000_000
  @small 0x7FF_FFFF_FFFF_FFFF

  @ejection [
    enforced: :boolean,
    consecutive_failures: :count,
    interval: :positive,
    base_ejection_time: :positive,
    max_ejection_time: :positive,
    max_ejection_time_jitter: :count,
    max_ejection_percent: :percent,
    success_rate_minimum_hosts: :positive,
    success_rate_request_volume: :positive,
    success_rate_stdev_factor: :count,
    latency_minimum_hosts: :positive,
    latency_request_volume: :positive,
    latency_multiple: :count,
    latency_floor: :count
  ]

  @slow_start [slow_start_window: :positive, min_weight_percent: :percent, fresh: :boolean]

  defguardp is_count(n) when is_integer(n) and n >= 0 and n <= @small
  defguardp is_positive(n) when is_integer(n) and n >= 1 and n <= @small
  defguardp is_part(n) when is_integer(n) and n in 1..@most

  @doc "A ticket of what was asked for."
  @spec ticket!(Ticket.kind(), pid | nil, term, term, term) :: Ticket.t()
  def ticket!(kind, owner, tag, request, nil), do: ticket!(kind, owner, tag, request, {nil, 1, 1, :infinity, nil})

  def ticket!(kind, owner, tag, request, {tenant, priority, cost, wait, route} = params) do
    check(tenant?(tenant) and priority in [0, 1, 2] and is_part(cost) and (wait == :infinity or is_count(wait)), params)

    %Ticket{
      kind: kind,
      owner: owner,
      tag: tag,
      request: request,
      tenant: tenant,
      priority: priority,
      cost: cost,
      wait: wait,
      route: route!(route)
    }
  end

  def ticket!(_kind, _owner, _tag, _request, params), do: wrong(params)

  defp route!(nil), do: nil
  defp route!(pid) when is_pid(pid), do: {:worker, pid}
  defp route!(hash) when is_integer(hash) and hash in 0..0xFFFFFFFF, do: {:hash, hash}
  defp route!(other), do: wrong(other)

  @spec config!(term) :: Kantoku.Engine.Pools.config()
  def config!(%{strategy: strategy, max_ongoing: max_ongoing, max_queue: max_queue} = config) do
    check(strategy in @strategies and is_positive(max_ongoing) and is_count(max_queue), config)
    for key <- [:queue_target, :queue_interval, :decay_time], do: check(is_positive(Map.get(config, key)), config)
    for key <- [:codel, :draining, :over_quota, :direct], do: check(is_boolean(Map.get(config, key)), config)
    check(all?(config[:weights], &weight?/1) and all?(config[:quotas], &quota?/1), config)

    for {name, fields} <- [ejection: @ejection, slow_start: @slow_start],
        do: check(fits?(Map.get(config, name, :missing), fields), config)

    check(config[:healthy_panic_threshold] in 0..100, config)
    config
  end

  def config!(other), do: wrong(other)

  defp fits?(nil, _fields), do: true
  defp fits?(%{} = map, fields), do: Enum.all?(fields, fn {name, kind} -> kind?(kind, Map.get(map, name)) end)
  defp fits?(_other, _fields), do: false

  defp kind?(:boolean, value), do: is_boolean(value)
  defp kind?(:count, value), do: is_integer(value) and value in 0..0xFFFFFFFF
  defp kind?(:positive, value), do: is_integer(value) and value in 1..0xFFFFFFFF
  defp kind?(:percent, value), do: is_integer(value) and value in 1..100

  defp all?(list, fun), do: is_list(list) and List.improper?(list) == false and Enum.all?(list, fun)

  defp weight?({tenant, weight}), do: tenant?(tenant) and is_part(weight)
  defp weight?(_other), do: false

  defp quota?({who, what, rate, burst}) do
    who?(who) and what in [:requests, :tokens] and is_positive(rate) and is_positive(burst)
  end

  defp quota?(_other), do: false

  defp who?({:tenant, tenant}), do: tenant?(tenant)
  defp who?(who), do: who in [:pool, :each]

  defp tenant?(tenant) when is_integer(tenant), do: tenant >= -@small - 1 and tenant <= @small
  defp tenant?(tenant), do: is_atom(tenant) or (is_binary(tenant) and byte_size(tenant) <= 255)

  @spec pid!(term) :: pid
  def pid!(pid) when is_pid(pid), do: pid
  def pid!(other), do: wrong(other)

  @doc "A ticket's number, or a member's."
  @spec number!(term) :: non_neg_integer
  def number!(number) when is_count(number), do: number
  def number!(other), do: wrong(other)

  @spec outcome!(term) :: Kantoku.Engine.Pools.outcome()
  def outcome!(outcome) when outcome in [:ok, :error, :abandoned], do: outcome
  def outcome!(other), do: wrong(other)

  @spec dealing!(term) :: Kantoku.Engine.Pools.dealing()
  def dealing!(dealing) when dealing in [:ask, :take, :give_back, :close], do: dealing
  def dealing!(other), do: wrong(other)

  @doc "For how many ms a worker is ejected."
  @spec length!(term) :: pos_integer | :infinity
  def length!(:infinity), do: :infinity
  def length!(ms) when is_integer(ms) and ms in 1..0xFFFFFFFF, do: ms
  def length!(other), do: wrong(other)

  @doc "A count of up to 32 bits."
  @spec word!(term) :: 0..0xFFFFFFFF
  def word!(count) when is_integer(count) and count in 0..0xFFFFFFFF, do: count
  def word!(other), do: wrong(other)

  @doc "The terms of a loan."
  @spec terms!(term) :: {Kantoku.Engine.Pools.tenant(), pos_integer, pos_integer}
  def terms!({tenant, cost, ttl} = terms) do
    check(tenant?(tenant) and is_part(cost) and is_integer(ttl) and ttl in 1..0xFFFFFFFF, terms)
    terms
  end

  def terms!(other), do: wrong(other)

  defp check(true, _term), do: :ok
  defp check(false, term), do: wrong(term)

  defp wrong(term), do: raise(ArgumentError, "no such argument is known to a pool: #{inspect(term)}")
end
