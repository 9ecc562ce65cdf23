defmodule Kantoku.Nonsense do
  # Calls every function of the native library with whatever terms there are, from processes that are killed in the middle. Runs
  # in another VM: what is shown is that the VM lives.
  @moduledoc false

  alias Kantoku.Native

  @instances [:fuzzed_one, :fuzzed_two, :fuzzed_three]
  @callers 8
  @round 250

  @doc "Makes at least `each` calls of each function and `total` in all, with files below `folder`; how many were made of each."
  def run(seed, each, total, folder) do
    :persistent_term.put({__MODULE__, :folder}, folder)
    :rand.seed(:exsss, seed)
    functions = for {name, arity} <- Native.functions(), name != :provoke, do: {name, arity}
    per_function = max(each, div(total, length(functions)))
    counts = :counters.new(length(functions), [:write_concurrency])
    open_all()
    Enum.each(1..@callers, fn n -> spawn(fn -> start_caller(seed + n, functions, counts) end) end)
    wait(counts, length(functions), per_function)
    for {function, index} <- Enum.with_index(functions, 1), into: %{}, do: {function, :counters.get(counts, index)}
  end

  defp wait(counts, functions, least) do
    unless Enum.all?(1..functions, &(:counters.get(counts, &1) >= least)) do
      Process.sleep(20)
      open_all()
      wait(counts, functions, least)
    end
  end

  defp open_all do
    for instance <- @instances do
      with :ok <- Native.open(instance, Enum.random([:unique, :duplicate]), 2, []) do
        for index <- 0..1, do: Native.seat(instance, index, self())
      end
    end
  end

  # A caller works through all functions, and every other one is killed while it does.
  defp start_caller(seed, functions, counts) do
    {pid, ref} = spawn_monitor(fn -> call_all(seed, functions, counts) end)
    if rem(seed, 2) == 0, do: kill_soon(pid, seed)
    receive do: ({:DOWN, ^ref, :process, ^pid, _} -> :ok)
    start_caller(seed + @callers, functions, counts)
  end

  defp kill_soon(pid, seed) do
    Process.sleep(rem(seed, 30))
    Process.exit(pid, :kill)
  end

  defp call_all(seed, functions, counts) do
    :rand.seed(:exsss, seed)
    {indexed, size} = {functions |> Enum.with_index(1) |> List.to_tuple(), length(functions)}

    for _ <- 1..(@round * size) do
      {{name, arity}, index} = elem(indexed, :rand.uniform(size) - 1)
      call(name, arguments(name, arity))
      :counters.add(counts, index, 1)
    end
  end

  defp call(name, arguments) do
    Native |> apply(name, arguments) |> remember()
  rescue
    ArgumentError -> :refused
  end

  # A ticket that a caller was given is what it most often comes back with.
  defp remember({answer, ticket, _pid}) when answer in [:sent, :granted] and is_integer(ticket),
    do: Process.put(:ticket, ticket)

  defp remember(metrics) when is_reference(metrics), do: Process.put(:metrics, metrics)
  defp remember({whose, series}) when whose in [:ok, :other] and is_reference(series), do: Process.put(:series, series)
  defp remember({:ok, loan}) when is_integer(loan), do: Process.put(:loan, loan)
  defp remember({:queued, ticket}), do: Process.put(:ticket, ticket)
  defp remember({:changed, _changes, answer}), do: remember(answer)
  defp remember(ticket) when is_integer(ticket) and ticket > 0xFFFFFF, do: Process.put(:ticket, ticket)
  defp remember(_answer), do: :ok

  # Mostly terms that fit the place, so that calls get past the first check.
  defp arguments(name, arity) do
    for kind <- shape(name, arity), do: harmless(kind, if(:rand.uniform(5) == 1, do: anything(3), else: fitting(kind)))
  end

  # Any text is a path, and would become a file there.
  defp harmless(:path, text) when is_binary(text), do: fitting(:path)
  defp harmless(_kind, term), do: term

  defp shape(:open, 4), do: [:instance, :kind, :small, :listeners]
  defp shape(:seat, 3), do: [:instance, :small, :pid]
  defp shape(:register, 3), do: [:instance, :key, :any]
  defp shape(:take_over, 4), do: [:instance, :key, :any, :pid]
  defp shape(:claim, 4), do: [:instance, :key, :pid, :any]
  defp shape(:disclaim, 3), do: [:instance, :key, :pid]
  defp shape(:unregister, 3), do: [:instance, :key, :numbers]
  defp shape(:keys, 2), do: [:instance, :pid]
  defp shape(:own, 3), do: [:instance, :key, :pid]
  defp shape(:put_value, 4), do: [:instance, :key, :small, :any]
  defp shape(name, 3) when name in [:slice, :count_slice], do: [:instance, :cursor, :small]
  defp shape(:describe, 6), do: [:instance, :key, :pid, :version, :any, :facets]
  defp shape(name, 3) when name in [:set_load, :add_load], do: [:instance, :handle, :small]
  defp shape(name, 2) when name in [:find, :find_pids, :count], do: [:instance, :query]
  defp shape(:watch, 3), do: [:instance, :query, :pid]
  defp shape(:pool_open, 4), do: [:instance, :pool, :pid, :pool_config]
  defp shape(:pool_join, 4), do: [:instance, :pool, :pid, :small]
  defp shape(name, 3) when name in [:pool_leave, :pool_shut], do: [:instance, :pool, :pid]
  defp shape(:pool_eject, 4), do: [:instance, :pool, :small, :number]
  defp shape(:pool_readmit, 3), do: [:instance, :pool, :small]
  defp shape(:pool_call, 5), do: [:instance, :pool, :any, :any, :params]
  defp shape(:pool_checkout, 4), do: [:instance, :pool, :any, :params]
  defp shape(:pool_cast, 4), do: [:instance, :pool, :any, :params]
  defp shape(:pool_room, 4), do: [:instance, :pool, :tenant, :number]
  defp shape(:pool_lend, 4), do: [:instance, :pool, :any, :terms]
  defp shape(:pool_loan, 5), do: [:instance, :pool, :loan, :dealing, :small]
  defp shape(:pool_checkin, 4), do: [:instance, :pool, :ticket, :outcome]
  defp shape(name, 3) when name in [:pool_cancel, :pool_answered], do: [:instance, :pool, :ticket]

  defp shape(name, 2)
       when name in [:pool_close, :pool_take, :pool_tick, :pool_status, :pool_workers, :pool_abandoned, :pool_ejections],
       do: [:instance, :pool]

  defp shape(:breaker_open, 4), do: [:instance, :breaker, :breaker_config, :now]
  defp shape(name, 2) when name in [:breaker_close, :breaker_allow], do: [:instance, :breaker]
  defp shape(:breaker_record, 5), do: [:instance, :breaker, :ticket, :ending, :small]
  defp shape(:breaker_ask, 4), do: [:instance, :breaker, :breaker_command, :now]
  defp shape(:breaker_beat, 2), do: [:instance, :now]
  defp shape(:health_add, 5), do: [:instance, :node, :health_spec, :pid, :now]
  defp shape(:health_change, 4), do: [:instance, :node, :health_spec, :now]
  defp shape(name, 3) when name in [:health_remove, :health_status], do: [:instance, :node, :now]
  defp shape(:health_clear, 1), do: [:instance]
  defp shape(:health_report, 5), do: [:instance, :node, :small, :health_outcome, :now]
  defp shape(name, 3) when name in [:health_beat, :health_put_off], do: [:instance, :node, :small]
  defp shape(:health_look, 5), do: [:instance, :small, :number, :small, :now]
  defp shape(name, 3) when name in [:trace_open, :trace_host], do: [:instance, :number, :bytes]
  defp shape(:trace_give_up, 2), do: [:instance, :number]
  defp shape(:trace_put, 2), do: [:instance, :span]
  defp shape(:trace_take, 2), do: [:instance, :number]
  defp shape(:exporters_listen, 5), do: [:address, :token, :token, :hosts, :limits]
  defp shape(:exporters_push, 3), do: [:name, :small, :target]
  defp shape(:exporters_end, 2), do: [:number, :small]
  defp shape(:exporters_beat, 2), do: [:flag, :flag]

  defp shape(name, 1) when name in [:exporters_start, :exporters_stop, :exporters_hang_up, :exporters_flush],
    do: [:small]

  defp shape(:store_open, 2), do: [:path, :store_options]

  defp shape(name, 6) when name in [:store_put, :store_put_large],
    do: [:small, :binary, :small, :small, :binary, :reply]

  defp shape(:store_get, 2), do: [:small, :binary]
  defp shape(:store_delete, 4), do: [:small, :binary, :small, :small]
  defp shape(:store_set_aside, 2), do: [:small, :binary]
  defp shape(:store_keys, 3), do: [:small, :binary, :small]
  defp shape(name, 1) when name in [:store_close, :store_flush, :store_stats], do: [:small]
  defp shape(:metrics_open, 3), do: [:labels, :number, :bytes]
  defp shape(:metrics_declare, 5), do: [:metrics, :metric, :binary, :metric_shape, :texts]
  defp shape(:metrics_series, 3), do: [:metrics, :metric, :texts]
  defp shape(name, 4) when name in [:metrics_bind, :metrics_unbind], do: [:metrics, :metric, :texts, :reading]
  defp shape(:metrics_quantile, 4), do: [:metrics, :metric, :texts, :float]
  defp shape(name, 1) when name in [:metrics_snapshot, :metrics_bytes], do: [:metrics]
  defp shape(name, 2) when name in [:metric_add, :metric_set, :metric_observe, :metric_quantile], do: [:series, :float]
  defp shape(_name, arity), do: Enum.take([:instance, :key, :any, :any, :any, :any], arity)

  defp fitting(:instance), do: Enum.random(@instances)
  defp fitting(:kind), do: Enum.random([:unique, :duplicate])
  defp fitting(:pool), do: Enum.random([:pool_one, :pool_two])
  defp fitting(:ticket), do: Process.get(:ticket, :rand.uniform(100))
  defp fitting(:loan), do: Process.get(:loan, :rand.uniform(100))
  defp fitting(:outcome), do: Enum.random([:ok, :error, :abandoned])
  defp fitting(:tenant), do: Enum.random([nil, :t, "t", 7])

  defp fitting(:params) do
    tuple =
      {fitting(:tenant), fitting(:version) |> min(2), :rand.uniform(9), Enum.random([:infinity, 0, 5]), fitting(:route)}

    Enum.random([nil, tuple])
  end

  defp fitting(:number), do: :rand.uniform(9)
  defp fitting(:terms), do: {fitting(:tenant), :rand.uniform(9), :rand.uniform(50)}
  defp fitting(:dealing), do: Enum.random([:ask, :take, :give_back, :close])
  defp fitting(:route), do: Enum.random([nil, :rand.uniform(1000), self()])

  defp fitting(:pool_config) do
    %{
      strategy: Enum.random([:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :hash, :lifo]),
      max_ongoing: :rand.uniform(3),
      max_queue: :rand.uniform(20),
      queue_target: :rand.uniform(5),
      queue_interval: :rand.uniform(20),
      decay_time: :rand.uniform(100),
      codel: :rand.uniform(2) == 1,
      over_quota: :rand.uniform(9) == 1,
      draining: :rand.uniform(9) == 1,
      direct: :rand.uniform(9) > 1,
      weights: [{fitting(:tenant), :rand.uniform(5)}],
      quotas: Enum.random([[], [{:each, :tokens, 60_000, 100}], [{:pool, :requests, 1_000_000, 1_000}]]),
      ejection:
        Enum.random([nil, Kantoku.TestPool.ejection(consecutive_failures: 2, interval: 1, base_ejection_time: 1)]),
      slow_start: Enum.random([nil, %{slow_start_window: 5, min_weight_percent: 10, fresh: true}]),
      healthy_panic_threshold: :rand.uniform(101) - 1
    }
  end

  defp fitting(:breaker), do: Enum.random([:breaker_one, :breaker_two, 3, "breaker", {:of, 1.0}, self()])
  defp fitting(:ending), do: Enum.random([:ok, :error, :error, :ignore])
  defp fitting(:now), do: Enum.random([nil, nil, :rand.uniform(1_000_000_000_000)])

  defp fitting(:breaker_command) do
    state = Enum.random([:closed, :open, :half_open, :half_open, :disabled, :forced_open, :metrics_only])
    Enum.random([:allow, :look, :status, {:set, state}, {:record, fitting(:ticket), fitting(:ending), 7}])
  end

  defp fitting(:breaker_config) do
    %{
      failure_rate_threshold: :rand.uniform(100_000_000),
      slow_call_rate_threshold: :rand.uniform(100_000_000),
      slow_call_duration_threshold: fitting(:small),
      sliding_window_type: Enum.random([:count_based, :time_based]),
      sliding_window_size: :rand.uniform(20),
      minimum_number_of_calls: :rand.uniform(20),
      wait_duration_in_open_state: :rand.uniform(20),
      permitted_number_of_calls_in_half_open_state: :rand.uniform(5),
      max_wait_duration_in_half_open_state: fitting(:small),
      automatic_transition_from_open_to_half_open_enabled: :rand.uniform(2) == 1
    }
  end

  # Of one of the first few that had one of the first places.
  defp fitting(:node), do: Enum.random([nil, :rand.uniform(3) * 2 ** 32 + :rand.uniform(4) - 1])
  defp fitting(:health_outcome), do: Enum.random([:success, :failure, :unknown])

  defp fitting(:health_spec) do
    kind = Enum.random([:startup, :liveness, :readiness, :custom])

    Enum.random([
      {:group, :worst},
      {:group, :rand.uniform(100)},
      {:agent, [{fitting(:small), kind, 1, fitting(:number)}]}
    ])
  end

  defp fitting(:bytes), do: :rand.uniform(5_000)
  defp fitting(:trace), do: {:rand.uniform(1 <<< 62), :rand.uniform(100)}
  defp fitting(:attributes), do: for(_ <- 1..3, do: {"key", Enum.random([1, 0.5, true, "value", anything(1)])})

  defp fitting(:span) do
    events = for _ <- 1..2, do: {fitting(:small), "event", fitting(:attributes)}
    links = for _ <- 1..2, do: {fitting(:trace), fitting(:small), 1, ""}

    {fitting(:trace), fitting(:number), fitting(:small), 1, "", "name", Enum.random([1, 5, 9]), fitting(:small),
     fitting(:small), Enum.random([0, 2, 4]), fitting(:attributes), events, links}
  end

  defp fitting(:metrics), do: Process.get(:metrics, make_ref())
  defp fitting(:series), do: Process.get(:series, make_ref())
  defp fitting(:metric), do: Enum.random(["metric_one", "metric_two", "metric_three"])
  defp fitting(:labels), do: Enum.random([[], [{"instance", "one"}]])
  defp fitting(:texts), do: Enum.random([[], ["a"], ["a", "b"], ["#{:rand.uniform(50)}"]])
  defp fitting(:float), do: Enum.random([0, 1, -1, 0.5, 1.0e300, :rand.uniform(1_000_000_000_000)])

  defp fitting(:metric_shape),
    do: {Enum.random([:counter, :gauge, :histogram]), Enum.random([nil, :seconds]), Enum.random([1.0e9, 1.0e-300])}

  defp fitting(:reading) do
    Enum.random([
      {:breaker, fitting(:instance), fitting(:breaker), Enum.random([:succeeded, :open])},
      {:bytes, fitting(:instance), Enum.random([:names, :pools, :metrics])},
      {:spans, fitting(:instance), Enum.random([:kept, :dropped, :taken])},
      {:pool, fitting(:instance), fitting(:pool), Enum.random([:queue, :waits, :requests, :queue_full])}
    ])
  end

  defp fitting(:address), do: Enum.random(["127.0.0.1:0", "[::1]:0", "127.0.0.1:1", "192.0.2.1:0"])
  defp fitting(:token), do: {:token, Enum.random(["0123456789abcdef", "short"])}
  defp fitting(:hosts), do: Enum.random([[], ["a", "b"]])
  defp fitting(:limits), do: List.to_tuple(for _ <- 1..6, do: fitting(:small))
  defp fitting(:name), do: Enum.random(["one", "two"])
  defp fitting(:target), do: {Enum.random([:statsd, :dogstatsd]), "127.0.0.1", :rand.uniform(9), ""}
  defp fitting(:flag), do: Enum.random([true, false])
  defp fitting(:small), do: :rand.uniform(50) - 1
  defp fitting(:version), do: :rand.uniform(4) - 1
  defp fitting(:numbers), do: for(_ <- 1..3, do: :rand.uniform(1000))

  defp fitting(:cursor),
    do: Enum.random([0, :rand.uniform(100), Bitwise.bsl(:rand.uniform(20), 32), 18_446_744_073_709_551_615])

  defp fitting(:handle), do: Bitwise.bor(Bitwise.bsl(2 * :rand.uniform(50) - 1, 31), :rand.uniform(20) - 1)
  defp fitting(:listeners), do: Enum.random([[], [:nobody], [:nobody, :no_one]])

  defp fitting(:key),
    do:
      Enum.random([
        :rand.uniform(20),
        "key-#{:rand.uniform(20)}",
        {:key, :rand.uniform(5)},
        1.0 * :rand.uniform(5),
        [self()]
      ])

  defp fitting(:pid), do: if(:rand.uniform(3) == 1, do: spawn(fn -> :ok end), else: self())
  defp fitting(:facets), do: for(_ <- 1..:rand.uniform(4), do: {:tag, "tag-#{:rand.uniform(10)}"})

  defp fitting(:query),
    do: {few_facets(), Enum.random([[], [few_facets()]]), few_facets(), order(), Enum.random([:infinity, 0, 1, 7])}

  defp fitting(:path), do: Path.join(:persistent_term.get({__MODULE__, :folder}), "#{:rand.uniform(3)}.redb")
  defp fitting(:store_options), do: Enum.random([%{}, %{cache_bytes: 1_000_000}, %{on_corrupt: :set_aside}])
  defp fitting(:reply), do: Enum.random([nil, make_ref()])
  defp fitting(:binary), do: :rand.bytes(:rand.uniform(100))
  defp fitting(:any), do: anything(3)

  defp few_facets, do: for(_ <- 1..:rand.uniform(3), :rand.uniform(2) == 1, do: {:tag, "tag-#{:rand.uniform(10)}"})
  defp order, do: Enum.random([:none, :load, :started_at, :random])

  @remote_pid <<131, 88, 100, 0, 13, "nowhere@local", 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1>>

  defp anything(0), do: Enum.random([:atom, 0, -1, "", [], nil])

  defp anything(depth) do
    inner = fn -> anything(depth - 1) end

    case :rand.uniform(18) do
      1 -> Enum.random([:fuzzed_one, :unknown, nil, true, :"", :unique])
      2 -> Enum.random([0, -1, 255, 1 <<< 59, -(1 <<< 59) - 1, 1 <<< 64, -(1 <<< 200)])
      3 -> Enum.random([0.0, -0.0, 1.0e300])
      4 -> :rand.bytes(:rand.uniform(400) - 1)
      5 -> String.duplicate("long", 5_000)
      6 -> <<5::3>>
      7 -> self()
      8 -> :erlang.binary_to_term(@remote_pid)
      9 -> make_ref()
      10 -> hd(Port.list())
      11 -> fn -> depth end
      12 -> &inspect/1
      13 -> [inner.(), inner.()]
      14 -> [inner.() | inner.()]
      15 -> {inner.(), inner.(), inner.()}
      16 -> %{inner.() => inner.(), key: inner.()}
      17 -> List.to_tuple(List.duplicate(inner.(), 40))
      18 -> Enum.to_list(1..300)
    end
  end

  defp number <<< places, do: Bitwise.bsl(number, places)
end
