defmodule Kantoku.Drain.Work do
  # Whether agents have work in flight. Asks no process that is too busy to answer.
  @moduledoc false

  alias Kantoku.{Agent, Engine}

  # How many data agents are asked at a time.
  @asked 64

  @type agent :: {id :: term, pid, :data | :otp}

  @doc """
  The ids of the agents that are at work, have messages waiting or count work in their entry's load; if there are none, of those
  whose directives are not all delivered by `deadline` (monotonic ms).
  """
  @spec unfinished(atom, [agent], integer) :: [id :: term]
  def unfinished(instance, agents, deadline) do
    case for {id, pid, _kind} <- agents, at_work?(pid) or loaded?(instance, id), do: id do
      [] -> unsettled(for({_id, _pid, :data} = agent <- agents, do: agent), deadline)
      busy -> busy
    end
  end

  defp unsettled(agents, deadline) do
    agents
    |> Task.async_stream(&settle(&1, deadline), max_concurrency: @asked, timeout: :infinity)
    |> Enum.flat_map(fn {:ok, left} -> left end)
  end

  defp settle({id, pid, :data}, deadline) do
    case Agent.Server.settle(pid, max(0, deadline - System.monotonic_time(:millisecond))) do
      :ok -> []
      {:error, :timeout} -> [id]
    end
  catch
    :exit, _it_ended -> []
  end

  defp at_work?(pid) do
    case Process.info(pid, [:message_queue_len, :current_function]) do
      nil -> false
      [message_queue_len: 0, current_function: function] -> not Agent.Loop.idle?(function)
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
