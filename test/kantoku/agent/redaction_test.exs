defmodule Kantoku.Agent.RedactionTest do
  # Reads the log of crashes, which all tests of this VM share: the secret is each test's own.
  use Kantoku.Test.AgentCase, async: true

  import ExUnit.CaptureLog

  alias Kantoku.Agent.Redaction

  defmodule Leaky do
    @moduledoc false
    # Each action fails in another way that would put the agent's data into the reason or the stacktrace.
    use Kantoku.Agent

    @impl true
    def new(secret), do: %{secret: secret}

    @impl true
    def cmd(agent, {:clause, _}), do: only_lists(agent)
    def cmd(agent, {:match, _}), do: [] = Enum.map([agent], & &1)
    def cmd(agent, {:key, _}), do: agent.nothing
    def cmd(agent, {:fetch, _}), do: Map.fetch!(agent, :nothing)
    def cmd(agent, {:badarg, _}), do: :erlang.binary_to_atom(Enum.random([agent]))
    def cmd(agent, {:throw, _}), do: throw(agent)
    def cmd(agent, {:exit, _}), do: exit({:failed, agent})
    def cmd(agent, {:error, _}), do: :erlang.error(agent)
    def cmd(agent, {:protocol, _}), do: Enum.count(Enum.random([{agent}]))
    def cmd(agent, {:with_else, _}), do: with_else(agent)
    def cmd(agent, {:return, _}), do: agent

    defp only_lists(list) when is_list(list), do: {list, []}

    defp with_else(agent) do
      with :ok <- agent do
        {agent, []}
      else
        :error -> {agent, []}
      end
    end
  end

  @ways [:clause, :match, :key, :fetch, :badarg, :throw, :exit, :error, :protocol, :with_else, :return]

  defp crash(context, way, options) do
    secret = "secret-#{way}-#{System.unique_integer([:positive])}"
    pid = start(context, options, %{module: Leaky, args: secret})
    exit = catch_exit(GenServer.call(pid, {way, secret <> "-in-the-action"}))
    reason = gone(pid)
    # The caller's own exit carries the request that it made itself; its reason is the server's.
    assert {^reason, {GenServer, :call, _request}} = exit
    {secret, reason}
  end

  test "however a command fails, neither the log nor the exit reason has the agent's data or its action", context do
    for way <- @ways do
      log = capture_log(fn -> send(self(), crash(context, way, [])) end)
      assert_received {"secret-" <> _ = secret, reason}
      refute inspect(reason, limit: :infinity) =~ secret
      refute log =~ secret
      assert log =~ "terminating"
    end
  end

  test "with redact: false they have it", context do
    log = capture_log(fn -> send(self(), crash(context, :clause, redact: false)) end)
    assert_received {"secret-" <> _ = secret, _reason}
    assert log =~ secret
  end

  test "status/1 of sys shows what is no data, and state/1 still shows the agent", context do
    pid = start(context, [], %{module: Leaky, args: "the secret"})
    status = inspect(:sys.get_status(pid), limit: :infinity)
    refute status =~ "the secret"
    assert status =~ "revision: 0"
    assert Server.state(pid) == %{secret: "the secret"}

    open = start(context, [redact: false], %{module: Leaky, args: "the secret", id: "open"})
    assert inspect(:sys.get_status(open), limit: :infinity) =~ "the secret"
  end

  test "a failure keeps its kind, its place and its function" do
    assert {%MatchError{term: :redacted}, [{Leaky, :cmd, 2, [file: _, line: 3]}]} =
             Redaction.reason(
               {%MatchError{term: :x}, [{Leaky, :cmd, [:a, :b], [file: ~c"a", line: 3, error_info: %{}]}]}
             )

    assert Redaction.reason({:badkey, :name, %{}}) == {:badkey, :name, :redacted}
    assert Redaction.reason({:badmatch, 1}) == {:badmatch, :redacted}
    assert Redaction.reason(:timeout) == :timeout
    assert Redaction.reason(%RuntimeError{message: "the author's word"}) == %RuntimeError{message: "the author's word"}
    assert Redaction.reason("data") == :redacted
  end
end
