defmodule Kantoku.Calls do
  # Messages to agents by name, with every way to fail as a value. Knows neither domains nor restarts.
  @moduledoc false

  alias Kantoku.{Agents, Drain, Engine, Error}
  alias Kantoku.Health.Pulse
  alias Kantoku.SLO.Watch

  @doc "See `Kantoku.call/4`."
  @spec call(atom, term, term, timeout) :: {:ok, term} | {:error, Error.t()}
  def call(instance, id, request, timeout) do
    case Watch.types(instance) do
      nil -> ask(instance, id, request, timeout)
      types -> Watch.agent(types, instance, id, fn -> ask(instance, id, request, timeout) end)
    end
  end

  defp ask(instance, id, request, timeout) do
    with {:ok, pid} <- admitted(instance, id),
         do:
           attempt(instance, id, timeout, fn -> Pulse.awaiting(pid, fn -> GenServer.call(pid, request, timeout) end) end)
  end

  @doc "See `Kantoku.state/3`. Not refused by a drain, as it is no work."
  @spec state(atom, term, timeout) :: {:ok, term} | {:error, Error.t()}
  def state(instance, id, timeout) do
    with {:ok, pid} <- Agents.fetch(instance, id),
         do: attempt(instance, id, timeout, fn -> Kantoku.Agent.Server.state(pid, timeout) end)
  end

  @doc "See `Kantoku.cast/3`."
  @spec cast(atom, term, term) :: :ok | {:error, Error.t()}
  def cast(instance, id, request) do
    with {:ok, pid} <- admitted(instance, id), do: GenServer.cast(pid, request)
  end

  defp admitted(instance, id) do
    case Engine.whereis(instance, id) do
      pid when is_pid(pid) ->
        if Drain.admits?(instance, id), do: {:ok, pid}, else: {:error, Error.new(:draining, instance: instance)}

      _ ->
        Agents.fetch(instance, id)
    end
  end

  defp attempt(instance, id, timeout, call) do
    {:ok, call.()}
  catch
    :exit, {:timeout, {GenServer, :call, _}} -> {:error, Error.new(:timeout, id: id, timeout: timeout)}
    :exit, {:noproc, {GenServer, :call, _}} -> {:error, gone(instance, id)}
    :exit, {reason, {GenServer, :call, _}} -> {:error, Error.new(:crashed, id: id, exit: reason)}
  end

  # It died before it had the request, so nothing was begun.
  defp gone(instance, id) do
    case Agents.fetch(instance, id) do
      {:error, error} -> error
      {:ok, _successor} -> Error.new(:restarting, id: id, retry_in: 1)
    end
  end
end
