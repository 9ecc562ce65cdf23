for file <- ~w(terms pool_walk_model), do: Code.require_file("#{file}.exs", __DIR__)

# Long walks of commands through the core of a pool, with processes that are names and a clock that is a number. After each
# command its invariants are looked at, and who was served is compared with a model that knows only lists.
defmodule Kantoku.PoolWalkTest do
  use ExUnit.Case, async: true
  import Kantoku.Terms, only: [check: 3]

  alias Kantoku.Engine.Elixir.Pool.{Core, Report, Ticket}
  alias Kantoku.{PoolWalkModel, TestPool}

  @moduletag :property
  @moduletag timeout: 300_000
  @ms 1_000_000
  @owners 4

  test "whatever is done to a pool, permits and tickets are kept, and who is served is next" do
    check(:proper_types.resize(300, :proper_types.list(command())), &holds?/1, 300)
  end

  # Commands ----------------------------------------------------------------------------------------------------------

  defp command do
    small = :proper_types.integer(0, 9)
    pick = :proper_types.integer(0, 40)

    :proper_types.frequency([
      {4, {:join, :proper_types.integer(0, 3)}},
      {1, {:join_again, small}},
      {1, {:leave, small}},
      {1, {:kill_worker, small}},
      {1, {:kill_owner, small}},
      {3, :hear_of_death},
      {24, {:ask, one_of([:call, :checkout, :cast]), small, asked()}},
      {16, {:finish, pick}},
      {6, {:checkin, pick, one_of([:ok, :error, :abandoned]), one_of([:own, :own, :foreign])}},
      {4, {:cancel, pick, one_of([:own, :own, :own, :foreign])}},
      {8, {:answered, pick}},
      {8, {:reply, pick, one_of([:own, :own, :own, :foreign])}},
      {1, {:lend, small, asked(), :proper_types.integer(1, 60)}},
      {8,
       {:deal, small, one_of([:ask, :ask, :ask, :take, :take, :give_back, :close]), pick,
        one_of([:own, :own, :foreign])}},
      {2, {:stand, one_of([:shut, :eject, :eject_for, :readmit]), small}},
      {3, :tick},
      {6, {:pass, :proper_types.integer(0, 30)}},
      {3, {:configure, changes()}}
    ])
  end

  defp asked do
    {one_of([nil, :a, "b"]), :proper_types.integer(0, 2), :proper_types.integer(1, 5),
     one_of([:infinity, :infinity, 40, 0]), one_of([nil, nil, :hash, :worker])}
  end

  defp changes do
    :proper_types.list(
      :proper_types.oneof([
        {:strategy, one_of([:round_robin, :random, :least_loaded, :power_of_two, :peak_ewma, :hash, :lifo])},
        {:max_ongoing, :proper_types.integer(1, 3)},
        {:max_queue, one_of([0, 5, 5, 100, 100])},
        {:codel, :proper_types.boolean()},
        {:draining, one_of([false, false, false, true])},
        {:ejection, :proper_types.oneof([nil, ejection(), ejection()])},
        {:slow_start, one_of([nil, %{slow_start_window: 20, min_weight_percent: 10, fresh: true}])},
        {:healthy_panic_threshold, one_of([0, 50, 100])},
        {:weights, one_of([[], [a: 3], [{"b", 2}, {nil, 7}]])},
        {:quotas, one_of([[], [], [], [{:each, :tokens, 6_000, 20}]])}
      ])
    )
  end

  defp ejection do
    for failures <- [0, 1, 2], enforced <- [true, true, false] do
      TestPool.ejection(
        enforced: enforced,
        consecutive_failures: failures,
        interval: 20,
        base_ejection_time: 15,
        max_ejection_time: 40,
        max_ejection_time_jitter: 3,
        max_ejection_percent: 60,
        success_rate_minimum_hosts: 2,
        success_rate_request_volume: 2,
        success_rate_stdev_factor: 500,
        latency_minimum_hosts: 2,
        latency_request_volume: 1,
        latency_multiple: 2,
        latency_floor: 0
      )
    end
    |> one_of()
  end

  defp one_of(values), do: :proper_types.elements(values)

  # Running -----------------------------------------------------------------------------------------------------------

  defp holds?(commands) do
    Process.put(:dead, MapSet.new())
    commands |> Enum.reduce(world(), &step/2) |> settle()
    true
  end

  defp world do
    config = TestPool.config(queue_target: 10, queue_interval: 50)
    start = %{first: 7, random: :rand.seed_s(:exsss, 1), alive?: &alive?/1}

    %{
      state: Core.new(:pool, :foreman, config, start, 0),
      now: 0,
      config: config,
      model: %PoolWalkModel{},
      workers: [],
      owners: for(n <- 1..@owners, do: {:owner, n}),
      last: @owners,
      tickets: [],
      loans: [],
      downs: [],
      told: %{}
    }
  end

  defp alive?(pid), do: pid not in Process.get(:dead)

  defp step({:join, member}, world) do
    pid = {:worker, world.last + 1}
    world = %{world | last: world.last + 1}
    {answer, world} = run(world, &Core.join(&1, pid, member, &2), :join)
    if answer == :ok, do: %{world | workers: [{pid, member} | world.workers]}, else: world
  end

  defp step({:join_again, index}, world) do
    with_worker(world, index, fn {pid, member} ->
      {answer, world} = run(world, &Core.join(&1, pid, member, &2), :join)
      assert answer == :ok == (alive?(pid) and not match?({:error, {:taken, _}}, answer))
      world
    end)
  end

  defp step({:leave, index}, world) do
    with_worker(world, index, fn {pid, _member} ->
      run(world, &Core.leave(&1, pid, &2), :leave) |> elem(1)
    end)
  end

  defp step({:stand, how, index}, world) do
    with_worker(world, index, fn {pid, member} ->
      {_answer, world} = run(world, &stand(&1, how, pid, member, &2), how)
      world
    end)
  end

  defp step({:kill_worker, index}, world), do: with_worker(world, index, fn {pid, _member} -> kill(world, pid) end)

  defp step({:kill_owner, index}, world) do
    index = rem(index, @owners)
    world = kill(world, Enum.at(world.owners, index))
    %{world | owners: List.replace_at(world.owners, index, {:owner, world.last + 1}), last: world.last + 1}
  end

  defp step(:hear_of_death, %{downs: []} = world), do: world

  defp step(:hear_of_death, %{downs: [pid | downs]} = world) do
    {:ok, world} = run(%{world | downs: downs}, &Core.down(&1, pid, &2), {:down, pid})
    refute is_map_key(world.state.workers.workers, pid) or is_map_key(world.state.owners, pid)
    world
  end

  defp step({:ask, kind, index, {tenant, priority, cost, wait, route}}, world) do
    number = world.state.next
    owner = if kind != :cast, do: owner(world, index)

    ticket = %Ticket{
      kind: kind,
      owner: owner,
      tag: number,
      request: number,
      tenant: tenant,
      priority: priority,
      cost: cost,
      wait: wait,
      route: route(world, route, index)
    }

    full = world.state.waiting.size >= world.config.max_queue
    places = if full, do: PoolWalkModel.outcrowded(world.model, tenant, Map.new(world.config.weights)), else: []
    {answer, world} = run(world, &Core.request(&1, ticket, &2), {:ask, %{ticket | number: number}})
    asked!(answer, number, wait == 0 or (full and places == []))
    if full and queued?(answer), do: refute(Enum.all?(places, &is_map_key(world.state.tickets, &1)))
    %{world | tickets: [{number, owner} | world.tickets]}
  end

  # What a worker has is checked in by its owner, or answered.
  defp step({:finish, pick}, world) do
    case Enum.sort(for {number, %{state: state}} <- world.state.tickets, state != :waiting, do: number) do
      [] ->
        world

      numbers ->
        number = Enum.at(numbers, rem(pick, length(numbers)))
        finish(world, world.state.tickets[number])
    end
  end

  defp step({:checkin, pick, outcome, whose}, world) do
    with_ticket(world, pick, whose, fn number, owner ->
      before = world.state.tickets[number]
      {answer, world} = run(world, &Core.checkin(&1, owner, number, outcome, &2), {:checkin, number})
      assert answer == checkin(before, owner)
      world
    end)
  end

  defp step({:cancel, pick, whose}, world) do
    with_ticket(world, pick, whose, fn number, owner ->
      before = world.state.tickets[number]
      {answer, world} = run(world, &Core.cancel(&1, owner, number, &2), {:cancel, number})
      assert answer == cancel(before, owner)
      world
    end)
  end

  defp step({:answered, pick}, world) do
    with_ticket(world, pick, :own, fn number, _owner ->
      before = world.state.tickets[number]
      {answer, world} = run(world, &Core.answered(&1, number, &2), {:answered, number})
      assert answer == if(before && before.state == :abandoned, do: :ok, else: :gone)
      world
    end)
  end

  defp step({:reply, pick, whose}, world) do
    with_ticket(world, pick, :own, fn number, owner ->
      before = world.state.tickets[number]
      # A ticket that waits has no worker, and no owner works.
      worker = if(whose == :own, do: before && before.worker) || owner
      {answer, world} = run(world, &Core.reply(&1, worker, number, :done, &2), {:reply, number})
      assert answer == replied(before, worker)
      world
    end)
  end

  defp step({:lend, index, {tenant, _priority, cost, _wait, _route}, ttl}, world) do
    owner = owner(world, index)
    tag = {:loan, length(world.loans)}
    {{:ok, loan}, world} = run(world, fn state, _now -> Core.lend(state, owner, tag, {tenant, cost, ttl}) end, :lend)
    %{world | loans: world.loans ++ [{loan, owner}]}
  end

  defp step({:deal, _index, _dealing, _count, _whose}, %{loans: []} = world), do: world

  defp step({:deal, index, dealing, count, whose}, world) do
    {loan, owner} = Enum.at(world.loans, rem(index, length(world.loans)))
    owner = if whose == :own, do: owner, else: :stranger
    before = world.state.credits.loans[loan]
    {answer, world} = run(world, &Core.deal(&1, owner, loan, dealing, count, &2), {:deal, loan})
    dealt!(answer, before, dealing, count, owner, world)
    world
  end

  defp step(:tick, world) do
    {:ok, world} = run(world, &Core.tick/2, :tick)

    for {_name, %{wished: wished} = loan} when wished > 0 <- world.state.credits.loans,
        do: assert(room(world, loan) == 0)

    for %{state: :waiting} = ticket <- Map.values(world.state.tickets), do: refute(late?(world, ticket))
    world
  end

  defp step({:pass, ms}, world), do: %{world | now: world.now + ms * @ms}

  defp step({:configure, changes}, world) do
    config = Map.merge(world.config, Map.new(changes))
    world = %{world | config: config}
    world |> run(&Core.configure(&1, :foreman, config, &2), :configure) |> elem(1)
  end

  defp stand(state, :shut, pid, _member, now), do: Core.shut(state, pid, now)
  defp stand(state, :eject, _pid, member, now), do: Core.eject(state, member, :infinity, now)
  defp stand(state, :eject_for, _pid, member, now), do: Core.eject(state, member, 10, now)
  defp stand(state, :readmit, _pid, member, now), do: Core.readmit(state, member, now)

  defp finish(world, %{state: :abandoned, number: number}) do
    {:ok, world} = run(world, &Core.answered(&1, number, &2), {:answered, number})
    world
  end

  defp finish(world, %{owner: owner, number: number}) do
    {:ok, world} = run(world, &Core.checkin(&1, owner, number, :ok, &2), {:checkin, number})
    world
  end

  defp with_worker(%{workers: []} = world, _index, _fun), do: world
  defp with_worker(world, index, fun), do: fun.(Enum.at(world.workers, rem(index, length(world.workers))))

  defp with_ticket(%{tickets: []} = world, _pick, _whose, _fun), do: world

  defp with_ticket(world, pick, whose, fun) do
    {number, owner} = Enum.at(world.tickets, rem(pick, length(world.tickets)))
    fun.(number, if(whose == :own, do: owner || :nobody, else: :stranger))
  end

  # One of the owners, or now and then a worker that asks for another.
  defp owner(world, index) do
    case Enum.filter(world.workers, fn {pid, _member} -> alive?(pid) end) do
      [{pid, _member} | _] when index > 8 -> pid
      _workers -> Enum.at(world.owners, rem(index, @owners))
    end
  end

  defp route(_world, nil, _index), do: nil
  defp route(_world, :hash, index), do: {:hash, index}
  defp route(%{workers: []}, :worker, _index), do: nil

  defp route(world, :worker, index),
    do: {:worker, world.workers |> Enum.at(rem(index, length(world.workers))) |> elem(0)}

  # The death is known to whoever asks from now on, and heard of later.
  defp kill(world, pid) do
    if alive?(pid) do
      Process.put(:dead, MapSet.put(Process.get(:dead), pid))
      %{world | downs: world.downs ++ [pid]}
    else
      world
    end
  end

  defp room(world, loan) do
    {room, [], _state} = Core.room(world.state, loan.tenant, loan.cost, world.now)
    room
  end

  # Answers -----------------------------------------------------------------------------------------------------------

  defp asked!({sent, number, _pid}, number, _full) when sent in [:sent, :granted], do: :ok
  defp asked!({:sent, _pid}, _number, _full), do: :ok
  defp asked!({:queued, number}, number, full), do: refute(full)
  defp asked!(:queued, _number, full), do: refute(full)
  defp asked!({:error, :queue_full, retry_in}, _number, full), do: assert(full and retry_in >= 1)
  defp asked!({:error, :quota, retry_in}, _number, _full), do: assert(retry_in >= 1)
  defp asked!({:error, :draining, 0}, _number, _full), do: :ok

  defp dealt!(answer, nil, _dealing, _count, _owner, _world), do: assert(answer == :gone)

  defp dealt!(answer, %{owner: whose}, dealing, _count, owner, _world) when whose != owner and dealing != :take,
    do: assert(answer == {:error, :foreign})

  defp dealt!(answer, before, :ask, count, _owner, _world), do: assert(answer in 0..(before.wished + count))

  defp dealt!(answer, before, dealing, count, _owner, world) do
    held = if before.lapses <= world.now, do: 0, else: before.held
    assert answer == if(dealing == :close, do: held, else: min(held, count))
  end

  defp queued?(answer), do: match?(:queued, answer) or match?({:queued, _number}, answer)

  defp checkin(nil, _owner), do: :gone
  defp checkin(%{state: :abandoned}, _owner), do: :gone
  defp checkin(%{owner: owner, state: state}, owner) when state != :waiting, do: :ok
  defp checkin(_ticket, _owner), do: {:error, :foreign}

  defp replied(%{kind: :call, state: :served, worker: worker}, worker), do: :ok
  defp replied(%{kind: :call, state: :abandoned, worker: worker}, worker), do: :late
  defp replied(_ticket, _worker), do: :none

  defp cancel(nil, _owner), do: :gone
  defp cancel(%{state: :abandoned}, _owner), do: :gone
  defp cancel(%{owner: owner, state: :waiting}, owner), do: :cancelled
  defp cancel(%{owner: owner, state: :served}, owner), do: :abandoned
  defp cancel(%{owner: owner, state: :held}, owner), do: :returned
  defp cancel(_ticket, _owner), do: {:error, :foreign}

  # Looking -----------------------------------------------------------------------------------------------------------

  defp run(%{state: before} = world, fun, command) do
    {answer, effects, state} = fun.(before, world.now)

    world =
      %{world | state: state} |> told(effects) |> ended(before, effects, command) |> served(before, effects, command)

    PoolWalkModel.check!(state, &alive?/1)
    lent!(world, effects)
    assert model_waits(world) == core_waits(state)
    {answer, world}
  end

  # L1, from far: what is held is in the permits that are free, or in the queue; and nothing is granted while there is no room.
  defp lent!(world, effects) do
    if Enum.any?(effects, &match?({:send, _pid, {:kantoku_pool, {:loan, _}, {:credits, _}}}, &1)) do
      status = Report.status(world.state)
      assert status.credits <= status.free + world.config.max_queue
      refute status.overloaded == 1 or world.config.draining
    end
  end

  # C2.
  defp told(world, effects) do
    messages = for {:send, pid, {:kantoku_pool, tag, what}} when is_integer(tag) <- effects, do: {tag, {pid, what}}

    Enum.reduce(messages, world, fn {tag, message}, world ->
      refute is_map_key(world.told, tag), "#{tag} was told #{inspect(world.told[tag])} and #{inspect(message)}"
      %{world | told: Map.put(world.told, tag, message)}
    end)
  end

  # What ended tells whom it has to, and for a reason.
  defp ended(world, before, effects, command) do
    given = for {tag, _pid} <- given(effects), do: tag
    gone = for {number, ticket} <- before.tickets, not is_map_key(world.state.tickets, number), do: ticket

    for ticket <- gone,
        ticket.number not in given,
        do: reason!(world, ticket, Map.get(world.told, ticket.number), command)

    for ticket <- gone, reduce: world, do: (world -> forget(world, ticket))
  end

  defp forget(world, %{state: :waiting, number: number}),
    do: %{world | model: PoolWalkModel.remove(world.model, number)}

  defp forget(world, _ticket), do: world

  # It had to make room for who came.
  defp reason!(world, %{state: :waiting, number: number, tenant: of}, told, {:ask, %{tenant: comer}}) do
    assert told == nil or match?({_owner, {:refused, :queue_full, _retry_in}}, told)
    assert of != comer
    assert number in PoolWalkModel.outcrowded(world.model, comer, Map.new(world.config.weights))
  end

  defp reason!(_world, %{state: :waiting, number: number}, nil, {:cancel, number}), do: :ok
  defp reason!(_world, %{state: :waiting, owner: pid}, nil, _command) when pid != nil, do: refute(alive?(pid))
  defp reason!(world, %{state: :waiting} = ticket, nil, _command), do: assert(late?(world, ticket))

  defp reason!(world, %{state: :waiting, owner: pid} = ticket, {pid, {:refused, reason, _}}, _command) do
    assert late?(world, ticket)
    assert reason == if(world.now > ticket.deadline, do: :deadline, else: :overloaded)
  end

  defp reason!(_world, %{state: :served, number: number}, nil, {:checkin, number}), do: :ok

  defp reason!(_world, %{state: :served, number: number, owner: pid}, {pid, {:reply, :done}}, {:reply, number}), do: :ok

  defp reason!(_world, %{state: :served, owner: pid} = ticket, {pid, :down}, _command),
    do: refute(alive?(ticket.worker))

  defp reason!(_world, %{state: :held, number: number}, _told, {name, number}) when name in [:checkin, :cancel], do: :ok
  defp reason!(_world, %{state: :held} = ticket, _told, _command), do: refute(alive?(ticket.worker))
  defp reason!(_world, %{state: :abandoned, number: number}, _told, {:answered, number}), do: :ok
  defp reason!(_world, %{state: :abandoned} = ticket, _told, _command), do: refute(alive?(ticket.worker))

  defp late?(world, ticket) do
    stale = world.state.codel.overloaded and world.now - ticket.since > 2 * world.config.queue_target * @ms
    world.now > ticket.deadline or stale
  end

  # Who waited and was given a worker had to be next; who comes waits or is served.
  defp served(world, before, effects, command) do
    world = Enum.reduce(given(effects), world, &served_one(&2, &1, before))

    with {:ask, %{number: number}} <- command,
         %{state: :waiting} = ticket <- world.state.tickets[number] do
      %{world | model: PoolWalkModel.join(world.model, ticket)}
    else
      _served_or_other -> world
    end
  end

  defp served_one(world, {number, pid}, before) do
    worker = world.state.workers.workers[pid]
    assert alive?(pid) and worker.state == :ready and MapSet.size(worker.tickets) <= world.config.max_ongoing

    if is_map_key(before.tickets, number) do
      ticket = before.tickets[number]
      refute late?(world, ticket)
      assert ticket.owner == nil or alive?(ticket.owner)
      weights = Map.new(world.config.weights)
      {expected, model} = PoolWalkModel.serve(world.model, weights, world.state.codel.overloaded)
      assert number == expected
      %{world | model: model}
    else
      assert world.model.waiting == [], "#{number} passed those who wait"
      world
    end
  end

  # Every ticket that effects hand to a worker; a check-out's tells only who waited.
  defp given(effects) do
    Enum.flat_map(effects, fn
      {:send, pid, {:"$gen_call", {_owner, number}, number}} -> [{number, pid}]
      {:send, pid, {:"$gen_cast", number}} -> [{number, pid}]
      {:send, _owner, {:kantoku_pool, number, {:granted, pid}}} -> [{number, pid}]
      _other -> []
    end)
  end

  defp model_waits(world), do: world.model.waiting |> Enum.map(& &1.number) |> Enum.sort()

  defp core_waits(state),
    do: Enum.sort(for({number, %{state: :waiting}} <- state.tickets, do: number))

  # In the end all who asked and all who work are dead: nothing is left, and a new worker has every permit.
  defp settle(world) do
    pids = world.owners ++ for({pid, _member} <- world.workers, do: pid)
    world = Enum.reduce(pids, world, &kill(&2, &1))
    world = Enum.reduce(world.downs, world, fn _pid, world -> step(:hear_of_death, world) end)
    casts = world.state.waiting.size
    {_answer, world} = run(world, &Core.readmit(&1, 0, &2), :readmit)
    world = step({:join, 0}, step({:configure, [max_ongoing: casts + 2, ejection: nil]}, world))

    status = Report.status(world.state)
    assert {status.credits, status.wishes, world.state.credits.loans} == {0, 0, %{}}
    assert %{workers: 1, ready: 1, queue: 0, ongoing: ongoing, abandoned: ongoing} = status
    assert ongoing <= casts and status.free == casts + 2 - ongoing
  end
end
