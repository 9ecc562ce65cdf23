defmodule Kantoku.Agent.ServerTest do
  use Kantoku.Test.AgentCase, async: true

  doctest Kantoku.Agent
  doctest Kantoku.Agent.Options

  alias Kantoku.Agent.Config

  test "a call runs a command and is answered by its reply directive, or :ok without one", context do
    pid = start(context)
    assert GenServer.call(pid, {:add, 2}) == 2
    assert GenServer.call(pid, :nothing) == :ok
    assert GenServer.call(pid, {:replies, [:first, :second]}) == :first
  end

  test "a cast runs a command, and its reply goes nowhere", context do
    pid = start(context)
    assert :ok = GenServer.cast(pid, {:add, 2})
    assert Server.state(pid) == %Account{count: 2}
    refute_received _
  end

  test "held by a process an agent becomes what it becomes as data", context do
    pid = start(context, [], %{args: [count: 5]})

    for seed <- 1..20, reduce: Account.new(count: 5) do
      agent ->
        actions = actions(seed)

        {agent, replies} =
          Enum.map_reduce(actions, agent, &as_data/2) |> then(fn {replies, agent} -> {agent, replies} end)

        assert Enum.map(actions, &GenServer.call(pid, &1)) == replies
        assert Server.state(pid) === agent
        agent
    end
  end

  defp actions(seed) do
    {_state, actions} =
      Enum.reduce(1..20, {:rand.seed_s(:exsss, seed), []}, fn _step, {state, actions} ->
        {n, state} = :rand.uniform_s(100, state)
        {state, [Enum.at([{:add, n}, :count, :nothing, {:paid, n}, {:replies, [n, n + 1]}], rem(n, 5)) | actions]}
      end)

    actions
  end

  defp as_data(action, agent) do
    {agent, directives} = Account.cmd(agent, action)
    {Enum.find_value(directives, :ok, fn {:reply, term} -> term end), agent}
  end

  test "a message that is no call goes to handle_info", context do
    pid = start(context)
    send(pid, {:note, 3})
    assert GenServer.call(pid, :count) == 3
  end

  defmodule Plain do
    @moduledoc false
    # No `use`: a module that knows only the pure contract.
    def new(args), do: args
    def cmd(list, item), do: {[item | list], [{:reply, length(list)}]}
  end

  test "a module that has only new/1 and cmd/2 is an agent", context do
    pid = start(context, [], %{module: Plain, args: []})
    assert GenServer.call(pid, :x) == 0
    stop(pid)
    pid = start(context, [], %{module: Plain, args: [], incarnation: 2})
    assert Server.state(pid) == [:x]
  end

  test "without handle_info stray messages are dropped, and a failed linked process takes the agent with it", context do
    pid = start(context, [], %{module: Plain, args: []})
    send(pid, :stray)
    assert Server.state(pid) == []
    send(pid, {:EXIT, self(), :boom})
    assert gone(pid) == :boom
  end

  test "a bad return and a throw are errors that say so, and change nothing", context do
    for {action, pattern} <- [nonsense: ~r/return \{agent, directives\}/, throw: ~r/nocatch/] do
      pid = start(context, store: nil)
      assert {reason, _call} = catch_exit(GenServer.call(pid, action))
      assert Exception.format_exit(reason) =~ pattern
      gone(pid)
    end
  end

  test "options that make no sense are refused with the option, the value and what was expected", context do
    for {options, pattern} <- [
          {[snapshot: :sometimes], ~r/:snapshot expects .*got: :sometimes/},
          {[max_snapshot_bytes: 0], ~r/:max_snapshot_bytes expects a positive number/},
          {[durability: :sync, snapshot: :manual], ~r/:sync.*got: :manual/},
          {[directive_backoff: {5, 1}], ~r/:directive_backoff/},
          {[store: Store.Memory], ~r/:store expects \{module, ref\}/}
        ] do
      assert_raise ArgumentError, pattern, fn -> start(context, options) end
    end

    assert_raise ArgumentError, ~r/unknown option :colour/, fn -> Options.new!(colour: :red) end
  end

  defmodule Bare do
    @moduledoc false
    use GenServer
    def init(arg), do: {:ok, arg}
  end

  test "an idle agent is packed to little more than an idle GenServer", context do
    {:ok, bare} = GenServer.start_link(Bare, 1, hibernate_after: 0)
    pid = start(context, [hibernate_after: 0], %{id: 1})
    assert hibernated_bytes(pid) <= hibernated_bytes(bare) + 200
    GenServer.call(pid, {:add, 1})
    assert hibernated_bytes(pid) <= hibernated_bytes(bare) + 300
  end

  defp hibernated_bytes(pid) do
    wait_until(fn -> Process.info(pid, :current_function) == {:current_function, {:erlang, :hibernate, 3}} end)
    {:memory, bytes} = Process.info(pid, :memory)
    bytes
  end

  test "agents of one kind share what they have in common" do
    options = Options.new!([])
    shared = Config.shared(__MODULE__, Account, options)
    assert :erts_debug.same(shared, Config.shared(__MODULE__, Account, options))
  end
end
