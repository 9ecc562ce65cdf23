defmodule Kantoku.Drain.Work do
  # Whether a process has work in flight. Asks nothing of the process itself, which may be too busy to answer.
  @moduledoc false

  alias Kantoku.Engine

  # Where OTP's own loops wait for the next message; whoever waits elsewhere waits in the middle of something.
  @loops [
    {:gen_server, :loop},
    {:gen_statem, :loop_receive},
    {:gen_statem, :loop_hibernate},
    {:gen_event, :fetch_msg},
    {:erlang, :hibernate}
  ]

  @doc "Whether an agent is at work, has messages waiting, or counts work in its entry's load."
  @spec busy?(atom, term, pid) :: boolean
  def busy?(instance, id, pid), do: at_work?(pid) or loaded?(instance, id)

  defp at_work?(pid) do
    case Process.info(pid, [:message_queue_len, :current_function]) do
      nil -> false
      [message_queue_len: 0, current_function: {module, function, _arity}] -> {module, function} not in @loops
      _waiting -> true
    end
  end

  defp loaded?(instance, id) do
    case Engine.entry(instance, id) do
      {{_key, _pid, _value, _attributes, load, _incarnation}, _version, _handle} -> load > 0
      _ -> false
    end
  end
end
