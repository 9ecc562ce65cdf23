defmodule Kantoku.Health.Witness do
  # What a stuck agent is at, looked at before it is killed: afterwards nobody can tell. A process of its own for each, as to look at who
  # runs may mean to wait. Finds nobody stuck.
  @moduledoc false

  alias Kantoku.Health.{Action, Board}

  # Ms between two looks at most.
  @pause 250

  # Ms that an answer may take. One who runs Elixir or Erlang answers at its next turn, which on a busy machine is no proof of anything yet:
  # only code that is not the VM's own keeps quiet for longer.
  @patience 1_000

  # What a process that waits spends on messages that are not the one it waits for is less than this.
  @reductions 1_000

  @doc """
  Looks at an agent that was found stuck, adds what it saw to the evidence, and then does what is to be done. `doing`: `:runs` if it spends
  reductions, or does not even answer; `:stands` if it waits all the time, and `at` where. One at a time looks at an agent: the next would
  have it restarted for what the first is still about to tell.
  """
  @spec examine(atom, :ets.tid(), {term, non_neg_integer, pid}, probe :: {non_neg_integer, term}, map, pos_integer) ::
          :ok
  def examine(instance, board, {id, _node, pid} = agent, probe, evidence, period) do
    pause = min(@pause, div(period, 4) + 1)

    unless Board.witnessed?(board, id) do
      look = fn -> told(instance, board, agent, probe, Map.merge(evidence, seen(pid, pause))) end
      Board.put_witness(board, id, spawn(look))
    end

    :ok
  end

  defp told(instance, board, {id, _node, _pid} = agent, {probe, name}, evidence) do
    Board.put_evidence(board, id, probe, evidence)
    Action.restart(instance, board, agent, name, evidence)
  rescue
    # The tables went with the instance.
    ArgumentError -> false
  end

  @doc "What a process is at, from two looks that are `pause` ms apart."
  @spec seen(pid, pause :: pos_integer) :: %{optional(:doing) => :runs | :stands, optional(:at) => mfa}
  def seen(pid, pause) do
    witness = self()
    {looker, ref} = spawn_monitor(fn -> exit({:seen, witness, look(pid, pause)}) end)
    awaited(looker, ref, pause + @patience)
  end

  defp awaited(looker, ref, patience) do
    receive do
      {:DOWN, ^ref, :process, ^looker, {:seen, _witness, seen}} -> seen
      {:DOWN, ^ref, :process, ^looker, _failed} -> %{}
    after
      patience ->
        Process.exit(looker, :kill)
        Process.demonitor(ref, [:flush])
        %{doing: :runs}
    end
  end

  defp look(pid, pause) do
    with [status: one, reductions: before] <- Process.info(pid, [:status, :reductions]),
         :ok <- Process.sleep(pause),
         [status: other, reductions: later] <- Process.info(pid, [:status, :reductions]),
         {:current_function, at} <- Process.info(pid, :current_function) do
      stands? = one == :waiting and other == :waiting and later - before < @reductions
      if stands?, do: %{doing: :stands, at: at}, else: %{doing: :runs, at: at}
    else
      _dead -> %{}
    end
  end
end
