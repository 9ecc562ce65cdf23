defmodule Kantoku.Test.AgentCase do
  @moduledoc false
  # Starts agents' servers as a domain would, each test with an instance name and a store of its own.
  use ExUnit.CaseTemplate

  alias Kantoku.Agent.Server
  alias Kantoku.Store
  alias Kantoku.Test.Account

  using do
    quote do
      import Kantoku.Test.AgentCase
      alias Kantoku.Agent.{Options, Server}
      alias Kantoku.Store
      alias Kantoku.Test.{Account, SlowStore}
    end
  end

  setup context do
    instance = :"#{context.module}: #{context.test}"
    {:ok, store} = Store.open(instance, Store.Memory)
    Process.flag(:trap_exit, true)
    {:ok, instance: instance, store: store, id: "a"}
  end

  @doc "Starts a server; `overrides` are fields of its argument, `options` are merged into those of the context."
  def start(context, options \\ [], overrides \\ %{}) do
    options = Enum.into(options, %{store: context.store})

    arg = %{
      instance: context.instance,
      id: context.id,
      module: Account,
      args: [],
      options: options,
      incarnation: 1,
      restore: true
    }

    {:ok, pid} = Server.start_link(Map.merge(arg, overrides))
    pid
  end

  @doc "Ends a server as a supervisor would, or by force, and waits until it is gone."
  def stop(pid, reason \\ :shutdown) do
    Process.exit(pid, reason)
    gone(pid)
  end

  @doc "Waits for the end of a linked process; answers its reason."
  def gone(pid) do
    receive do
      {:EXIT, ^pid, reason} -> reason
    after
      5_000 -> raise "#{inspect(pid)} did not end"
    end
  end

  @doc "Waits until a condition holds."
  def wait_until(condition) do
    if not condition.() do
      receive do
      after
        1 -> wait_until(condition)
      end
    end
  end

  @doc "The next delivery: `{courier, what, id, context}`."
  def delivery do
    receive do
      {:delivery, courier, what, id, context} -> {courier, what, id, context}
    after
      5_000 -> raise "nothing was delivered"
    end
  end

  @doc "Ends the next delivery with a result; answers its id."
  def deliver(result \\ :ok) do
    {courier, _what, id, _context} = delivery()
    send(courier, {:end_delivery, result})
    id
  end

  @doc "An agent's life in which everything happens that agents tell of."
  def live_through_everything(context) do
    options = [max_snapshot_bytes: 1_000, directive_attempts: 2, directive_backoff: {1, 1}]
    pid = start(context, options)
    GenServer.call(pid, {:pay, {self(), 1}})
    deliver({:error, :no})
    deliver({:ok, {:add, 1}})
    GenServer.call(pid, {:pay, {self(), 2}})
    for _ <- 1..2, do: deliver({:error, :no})
    gone(pid)

    pid = start(context, options, %{incarnation: 2})
    deliver()
    Server.settle(pid, 5_000)
    GenServer.call(pid, {:fill, 5_000})
    stop(pid)
    {:ok, version, _bytes} = Store.get(context.store, context.id)
    Store.put(context.store, context.id, version, "rubbish", nil)
    Server.state(start(context, options, %{incarnation: 3}))
  end
end
