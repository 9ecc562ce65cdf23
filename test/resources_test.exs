import Kantoku.EachEngine

each_engine Kantoku.ResourcesTest do
  import Kantoku.InstanceCase, only: [start!: 1, worker!: 2, worker!: 3]
  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.Resources
  alias Kantoku.Resources.{Board, Carried, Figures}

  defp instance!(opts \\ []), do: start!(Keyword.merge([engine: @engine, health: [period: 20, at_risk: false]], opts))

  defp top(instance, by, k \\ 10) do
    {:ok, entries} = Resources.top(instance, by, k)
    entries
  end

  defp first(instance, by), do: instance |> top(by, 1) |> Enum.map(& &1.id)

  defp sums(instance) do
    {:ok, sums} = Resources.sums(instance)
    sums
  end

  defp do_in(pid, fun), do: GenServer.call(pid, {:run, fun})

  test "who has most of each kind is the first of it" do
    instance = instance!()
    pids = for id <- ["a", "b", "c", "d", "e"], into: %{}, do: {id, worker!(instance, id)}
    do_in(pids["a"], fn -> Process.put(:kept, Enum.to_list(1..200_000)) && :ok end)
    do_in(pids["b"], fn -> Process.put(:kept, :binary.copy("x", 10_000_000)) && :ok end)
    test = self()
    GenServer.cast(pids["c"], {:run, fn -> send(test, :held) && receive(do: (:go_on -> :ok)) end})
    assert_receive :held
    for _ <- 1..500, do: send(pids["c"], :more)
    busy = fn again -> Enum.sum(1..10_000) && receive(do: (:stop -> :ok), after: (0 -> again.(again))) end
    GenServer.cast(pids["d"], {:run, fn -> busy.(busy) end})

    for {by, id} <- [memory: "a", heap: "a", binaries: "b", mailbox: "c", reductions: "d"],
        do: assert(eventually(fn -> first(instance, by) == [id] end))

    assert [%{id: "a", memory: bytes, domain: :default, pid: pid, age: age}] = top(instance, :memory, 1)
    assert {pid, bytes > 3_000_000, age >= 0} == {pids["a"], true, true}
    assert Enum.map(top(instance, :mailbox), & &1.id) == ["c"]
    assert length(top(instance, :memory)) == 5
    memory = Enum.map(top(instance, :memory), & &1.memory)
    assert memory == Enum.sort(memory, :desc)

    send(pids["d"], :stop)
    send(pids["c"], :go_on)
    assert eventually(fn -> top(instance, :mailbox) == [] end)
    kill(pids["a"])
    assert eventually(fn -> first(instance, :memory) != ["a"] end)
  end

  test "who has set most aside is not who uses most of it" do
    instance = instance!()
    [roomy, full] = for id <- ["roomy", "full"], do: worker!(instance, id)
    do_in(roomy, fn -> Process.flag(:min_heap_size, 5_000_000) && :erlang.garbage_collect() end)
    do_in(full, fn -> Process.put(:kept, Enum.to_list(1..200_000)) && :ok end)
    assert eventually(fn -> first(instance, :memory) == ["roomy"] and first(instance, :heap) == ["full"] end)
    heaps = Enum.map(top(instance, :heap), & &1.heap)
    assert length(heaps) == 2 and heaps == Enum.sort(heaps, :desc)
  end

  test "no more of the first are kept than was asked for, and none of who is gone" do
    instance = instance!(resources: [top: 3])
    for id <- 1..10, do: worker!(instance, id)
    assert eventually(fn -> length(top(instance, :memory)) == 3 end)
    assert eventually(fn -> sums(instance).all.agents == 10 end)
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    board = Board.of(book)
    assert eventually(fn -> :ets.select_count(board, [{{:"$1", :_, :_}, [{:is_pid, :"$1"}], [true]}]) == 10 end)
    for id <- 1..8, do: :ok = Kantoku.stop_agent(instance, id)
    assert eventually(fn -> :ets.select_count(board, [{{:"$1", :_, :_}, [{:is_pid, :"$1"}], [true]}]) == 2 end)
    assert eventually(fn -> length(top(instance, :memory)) == 2 end)
  end

  test "domains and pools have sums, and what is nobody's is shown" do
    pools = [[name: :writers, worker: {Kantoku.TestWorker, []}, target: 2]]
    instance = instance!(pools: pools, domains: [[name: :tools]])
    for id <- 1..3, do: worker!(instance, id, domain: :tools)
    assert eventually(fn -> sums(instance).all.agents == 5 end)
    assert %{domains: %{tools: tools}, pools: %{writers: writers}, all: all, others: others, age: age} = sums(instance)
    assert {tools.agents, writers.agents} == {3, 2}
    assert all.memory == tools.memory + writers.memory
    assert tools.memory > 0 and tools.heap > 0 and tools.heap <= tools.memory
    assert others.processes > 10 and others.memory > all.memory and age >= 0
  end

  test "of more agents than a slice has, each is in the sums once" do
    instance = instance!(health: [period: 200, at_risk: false])
    for id <- 1..1_200, do: worker!(instance, id)
    assert eventually(fn -> sums(instance).all.agents == 1_200 end)
    for _ <- 1..20, do: assert(sums(instance).all.agents == 1_200)
    assert length(top(instance, :memory, 200)) == 100
  end

  test "looking at an agent costs it nothing" do
    pid = worker!(instance!(health: [period: 60_000]), "a")
    :pong = do_in(pid, fn -> :pong end)
    assert eventually(fn -> match?([status: :waiting, reductions: _], Process.info(pid, [:status, :reductions])) end)
    before = Process.info(pid, :reductions)
    for _ <- 1..10, do: assert({%{memory: _}, {_bytes, 0}} = Figures.of(pid))
    assert Process.info(pid, :reductions) == before
  end

  test "what is kept of an agent is not more than 100 bytes" do
    instance = instance!(health: [period: 20, at_risk: false])
    for id <- 1..1_000, do: worker!(instance, id)
    assert eventually(fn -> sums(instance).all.agents == 1_000 end)
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    board = Board.of(book)
    first = :ets.info(board, :memory)
    pids = for {pid, _reductions, _at} <- :ets.tab2list(board), is_pid(pid), do: pid
    for pid <- pids, do: :ets.delete(board, pid)
    # Its buckets stay; a row of this table has one of its own, which is a word.
    assert (first - :ets.info(board, :memory) + 1_000) * :erlang.system_info(:wordsize) <= 100 * 1_000
  end

  test "one agent is looked at closely; one that runs may be slow, and that is said" do
    instance = instance!()
    pid = worker!(instance, "a")
    do_in(pid, fn -> Process.put(:kept, for(n <- 1..3, do: :binary.copy(<<n>>, 1_000))) && :ok end)
    assert eventually(fn -> match?({:ok, %{reductions: n}} when n != nil, Resources.of(instance, "a")) end)

    assert {:ok, %{memory: memory, process: process, references: references, mailbox: 0, io: io}} =
             Resources.of(instance, "a", 30_000)

    assert process > 0 and memory > 0 and references >= 3
    assert io == %{ports: 0, input: 0, output: 0}
    assert {:error, %{reason: :not_found}} = Resources.of(instance, "nobody")
  end

  test "input and output are those of ports that an agent owns, or one linked to it alone" do
    instance = instance!()
    [own, linked] = for id <- ["own", "linked"], do: worker!(instance, id)
    do_in(own, fn -> echo(cat(), "hello") end)
    do_in(linked, fn -> spawn_link(fn -> echo(cat(), "hello") && Process.sleep(:infinity) end) end)
    worker!(instance, "none")
    io = %{ports: 1, input: 5, output: 5}
    for id <- ["own", "linked"], do: assert(eventually(fn -> carried(instance, id) == io end))
    assert carried(instance, "none") == %{ports: 0, input: 0, output: 0}
    {:ok, %{agents: agents}} = Resources.io(instance)
    assert Enum.sort_by(agents, & &1.id) == [%{id: "linked", io: io}, %{id: "own", io: io}]
  end

  test "what a process carried that agents share is nobody's, and theirs once it is linked to one of them alone" do
    instance = instance!()
    [one, two] = for id <- ["one", "two"], do: worker!(instance, id)
    shared = do_in(one, fn -> spawn_link(&echo_on_demand/0) end)
    do_in(two, fn -> Process.link(shared) end)
    {:ok, %{unattributed: before}} = Resources.io(instance)
    port = demand(shared, String.duplicate("x", 10_000))

    assert eventually(fn ->
             {:ok, %{agents: agents, unattributed: now}} = Resources.io(instance)
             assert agents == []
             now.input - before.input >= 10_000 and :ets.member(Carried, {:open, port})
           end)

    for id <- ["one", "two"], do: assert(carried(instance, id) == %{ports: 0, input: 0, output: 0})
    do_in(two, fn -> Process.unlink(shared) end)
    demand(shared, "hello")
    assert eventually(fn -> carried(instance, "one") == %{ports: 1, input: 5, output: 5} end)
    assert carried(instance, "two") == %{ports: 0, input: 0, output: 0}
  end

  test "what was carried stays when a port is closed; its agent's end takes it away, but not from its domain" do
    instance = instance!(domains: [[name: :tools]])
    pid = worker!(instance, "a", domain: :tools, restart: :temporary)
    port = do_in(pid, fn -> echo(cat(), "hello") end)
    assert eventually(fn -> carried(instance, "a") == %{ports: 1, input: 5, output: 5} end)
    do_in(pid, fn -> Port.close(port) end)
    assert eventually(fn -> carried(instance, "a") == %{ports: 0, input: 5, output: 5} end)
    do_in(pid, fn -> echo(cat(), "hi") end)
    assert eventually(fn -> carried(instance, "a") == %{ports: 1, input: 7, output: 7} end)
    kill(pid)
    assert eventually(fn -> Resources.io(instance) |> elem(1) |> Map.fetch!(:agents) == [] end)
    assert %{io: %{tools: %{input: 7, output: 7}}} = sums(instance)
  end

  test "bytes are metrics by domain, pool and direction, and those that nobody's ports carried are one" do
    pools = [[name: :writers, worker: {Kantoku.TestWorker, []}, target: 1, warm_up: 1]]
    instance = instance!(domains: [[name: :tools]], pools: pools)
    do_in(worker!(instance, "a", domain: :tools), fn -> echo(cat(), "hello") end)
    assert eventually(fn -> match?({:ok, [_]}, Kantoku.Pool.workers({instance, :writers})) end)
    do_in(writer(instance), fn -> echo(cat(), "hi") end)

    told = fn ->
      Resources.io(instance)

      for %{labels: l, value: value} <- family(instance, "kantoku_agents_io_bytes"),
          do: {l["domain"], l["pool"], l["direction"], value}
    end

    expected = [
      {"", "writers", "receive", 2.0},
      {"", "writers", "transmit", 2.0},
      {"tools", "", "receive", 5.0},
      {"tools", "", "transmit", 5.0}
    ]

    assert eventually(fn -> Enum.sort(told.()) == expected end)

    nobodys = fn ->
      Resources.io(instance)
      Map.new(family(instance, "kantoku_unattributed_io_bytes"), &{&1.labels, &1.value})
    end

    before = nobodys.()
    Port.close(echo(cat(), String.duplicate("x", 10_000)))
    more? = fn now, direction -> now[%{"direction" => direction}] - before[%{"direction" => direction}] >= 10_000 end

    assert eventually(fn ->
             now = nobodys.()
             more?.(now, "receive") and more?.(now, "transmit")
           end)
  end

  defp writer(instance) do
    {:ok, [%{pid: worker}]} = Kantoku.Pool.workers({instance, :writers})
    worker
  end

  defp family(instance, name) do
    {:ok, families} = Resources.families(instance)
    %{kind: :counter, unit: "bytes", series: series} = Enum.find(families, &(&1.name == name))
    series
  end

  test "sockets of OTP's own count as ports do" do
    instance = instance!()
    [one, two] = for id <- ["one", "two"], do: worker!(instance, id)

    listener =
      do_in(one, fn ->
        {:ok, socket} = :socket.open(:inet, :stream, :tcp)
        :ok = :socket.bind(socket, %{family: :inet, addr: {127, 0, 0, 1}, port: 0})
        :ok = :socket.listen(socket)
        socket
      end)

    {:ok, address} = :socket.sockname(listener)

    sender =
      do_in(two, fn ->
        {:ok, socket} = :socket.open(:inet, :stream, :tcp)
        :ok = :socket.connect(socket, address)
        :ok = :socket.send(socket, "hello")
        socket
      end)

    do_in(one, fn ->
      {:ok, socket} = :socket.accept(listener)
      {:ok, "hello"} = :socket.recv(socket, 5)
      socket
    end)

    assert eventually(fn -> carried(instance, "two") == %{ports: 1, input: 0, output: 5} end)
    assert eventually(fn -> carried(instance, "one") == %{ports: 2, input: 5, output: 0} end)
    do_in(two, fn -> :socket.close(sender) end)
    assert eventually(fn -> carried(instance, "two") == %{ports: 0, input: 0, output: 5} end)
  end

  test "of an instance that ended nothing is kept, nor of one whose agents are not looked at" do
    instance = instance!()
    [pid, unseen] = for i <- [instance, instance!(resources: false)], do: worker!(i, "a", [])
    for pid <- [pid, unseen], do: do_in(pid, fn -> echo(cat(), "hello") end)
    {:ok, {rows, _book}} = Kantoku.Instances.tables(instance)

    kept = fn ->
      for row <- :ets.tab2list(Carried), {_, whose, _} = key <- [elem(row, 0)], whose in [instance, rows], do: key
    end

    assert eventually(fn -> length(kept.()) == 2 end)
    refute Enum.any?(:ets.tab2list(Carried), &match?({{:agent, _instance, ^unseen}, _, _, _, _}, &1))
    stop_supervised!(instance)
    assert eventually(fn -> kept.() == [] end)
  end

  # What the ports of an agent carried.
  defp carried(instance, id) do
    {:ok, %{io: io}} = Resources.of(instance, id, 30_000)
    io
  end

  defp cat, do: Port.open({:spawn_executable, System.find_executable("cat")}, [:binary])

  defp echo(port, text) do
    Port.command(port, text)
    await(port, byte_size(text))
  end

  defp await(port, 0), do: port
  defp await(port, left), do: receive(do: ({^port, {:data, data}} -> await(port, left - byte_size(data))))

  defp echo_on_demand(port \\ nil) do
    port = port || cat()

    receive do
      {:echo, text, from} ->
        send(from, {:echoed, echo(port, text)})
        echo_on_demand(port)
    end
  end

  defp demand(pid, text) do
    send(pid, {:echo, text, self()})
    receive do: ({:echoed, port} -> port)
  end

  test "it may be off, or health may be, and nothing is kept" do
    for opts <- [[resources: false], [health: false]] do
      instance = instance!(opts)
      assert {:error, %{reason: :not_found} = error} = Resources.top(instance, :memory)
      assert Exception.message(error) =~ "are not looked at"
      assert {:error, %{reason: :not_found}} = Resources.families(instance)
      worker!(instance, "a")
      assert {:ok, %{memory: _, reductions: nil, io: nil}} = Resources.of(instance, "a", 30_000)
      assert {:error, %{reason: :not_found}} = Resources.io(instance)
    end

    assert {:error, %{reason: :not_running}} = Resources.sums(:nobody_runs_this)
    assert_raise ArgumentError, ~r/:memory, :heap, :reductions, :mailbox, :binaries/, fn -> Resources.top(:x, :luck) end
  end

  test "whoever looks is killed, and another goes on" do
    instance = instance!()
    worker!(instance, "a")
    assert eventually(fn -> sums(instance).all.agents == 1 end)
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    kill(Kantoku.Domain.Book.seated(book, :health_lookout))
    worker!(instance, "b")
    assert eventually(fn -> sums(instance).all.agents == 2 end)
  end

  test "its metrics are of the agreed shape: base names, units, no agent's id, and a bound" do
    instance = instance!(domains: for(n <- 1..120, do: [name: :"d#{n}", partitions: 1]))
    for n <- 1..120, do: worker!(instance, {:secret, n}, domain: :"d#{n}")
    assert eventually(fn -> sums(instance).all.agents == 120 end)
    {:ok, families} = Resources.families(instance)
    names = Enum.map(families, & &1.name)
    assert names == Enum.uniq(names)

    for %{name: name, help: help, unit: unit, kind: kind, series: series} <- families do
      assert kind in [:counter, :gauge] and help != "" and name =~ ~r/^[a-z][a-z0-9_]+[a-z0-9]$/
      refute String.ends_with?(name, "_total")
      if unit, do: assert(String.ends_with?(name, unit))

      assert Enum.all?(
               series,
               &(is_float(&1.value) and Enum.all?(&1.labels, fn {k, v} -> is_binary(k) and is_binary(v) end))
             )

      labels = Enum.map(series, & &1.labels)
      assert labels == Enum.uniq(labels)
      assert length(series) <= 100
    end

    refute inspect(families) =~ "secret"
    observed = Enum.find(families, &(&1.name == "kantoku_agents_observed")).series
    assert Enum.sum(Enum.map(observed, & &1.value)) == 120
    assert Enum.any?(observed, &(&1.labels["domain"] == "other" and &1.value > 1))
  end

  test "labels are written as in all other metrics of the instance" do
    name = :"my-app #{System.unique_integer([:positive])}"
    pools = [[name: :"the-writers", worker: {Kantoku.TestWorker, []}, target: 1]]
    instance = instance!(name: name, domains: [[name: My.Tools]], pools: pools)
    worker!(instance, "a", domain: My.Tools)
    assert eventually(fn -> sums(instance).all.agents == 2 end)
    {:ok, families} = Resources.families(instance)
    {:ok, measured} = Kantoku.Metrics.snapshot(instance)
    [%{labels: %{"instance" => text}} | _] = Enum.find(measured, &(&1.name == "kantoku_pool_queue")).series
    labels = for %{labels: labels} <- Enum.find(families, &(&1.name == "kantoku_agents_observed")).series, do: labels

    assert Enum.sort_by(labels, & &1["pool"]) == [
             %{"instance" => text, "domain" => "My.Tools", "pool" => ""},
             %{"instance" => text, "domain" => "", "pool" => "the-writers"}
           ]
  end

  test "the report has the VM, each place and the first of each kind" do
    instance = instance!(domains: [[name: :tools]])
    worker!(instance, "planner", domain: :tools)
    assert eventually(fn -> first(instance, :memory) != [] and sums(instance).all.agents == 1 end)
    text = Resources.report(instance)
    assert text =~ ~r/^VM: [\d.]+ MiB/
    assert text =~ ~r/domain :tools +1 +[\d.]+ KiB/
    assert text =~ ~r/most memory +domain/
    assert text =~ ~r/"planner" +:tools/
  end
end
