if Code.ensure_loaded?(Jido.Agent) do
  defmodule Kantoku.JidoCase do
    @moduledoc "A test with a Jido instance of its own beside a Kantoku instance of its own."
    use ExUnit.CaseTemplate

    alias Kantoku.{InstanceCase, JidoAgents}

    using do
      quote do
        import Kantoku.{InstanceCase, JidoCase}
        import Kantoku.JidoAgents, only: [signal: 1, signal: 2]
        import Kantoku.TestOwner, only: [eventually: 1, kill: 1]
        alias Kantoku.{Error, JidoAgents}
        alias Kantoku.JidoAgents.Counter
        @moduletag :jido
      end
    end

    @doc "Starts an instance of Jido below the test's supervisor; its name."
    def jido!(opts \\ []) do
      name = :"kantoku_jido_#{System.unique_integer([:positive])}"
      ExUnit.Callbacks.start_supervised!({Jido, [name: name] ++ opts}, id: name)
      name
    end

    @doc "Starts an instance of Kantoku; its name."
    def kantoku!(opts \\ []), do: InstanceCase.start!(opts)

    @doc "Starts an agent of Jido's in Kantoku's care; its pid."
    def agent!(instance, jido, id, opts \\ []) do
      {module, opts} = Keyword.pop(opts, :module, JidoAgents.Counter)
      {jido_opts, opts} = Keyword.pop(opts, :jido, [])
      {:ok, pid} = Kantoku.start_agent(instance, {Kantoku.Jido, module, [jido: jido] ++ jido_opts}, [id: id] ++ opts)
      pid
    end

    @doc "Has an agent add, and answers its total."
    def add(server, by \\ 1) do
      {:ok, agent} = Jido.AgentServer.call(server, JidoAgents.signal("add", %{by: by}))
      agent.state.total
    end

    @doc "What an agent's total is."
    def total(server) do
      {:ok, state} = Jido.AgentServer.state(server)
      state.agent.state.total
    end

    @doc "Begins a call that goes on until its action is told to: the caller's task, the action's process, and Jido's task for the call."
    def begin_wait(server) do
      test = self()

      caller =
        Task.async(fn ->
          attempt(fn -> Jido.AgentServer.call(server, JidoAgents.signal("wait", %{tell: test}), 10_000) end)
        end)

      receive do
        # The action has a process of its own, begun by the task that Jido began for the call.
        {:waiting, action, callers} -> {caller, action, Enum.at(callers, -2)}
      after
        5_000 -> raise "the call did not begin"
      end
    end

    @doc "Waits until a task waits for an answer."
    def asked!(%Task{pid: pid} = task) do
      Kantoku.TestOwner.eventually(fn -> Process.info(pid, :status) == {:status, :waiting} end)
      task
    end

    @doc "The result of a function, or `{:exit, reason}`."
    def attempt(fun) do
      fun.()
    catch
      :exit, reason -> {:exit, reason}
    end
  end
end
