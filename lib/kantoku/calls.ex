defmodule Kantoku.Calls do
  # Messages to agents by name, with every way to fail as a value. Knows neither domains nor restarts.
  @moduledoc false

  alias Kantoku.{Agents, Drain, Engine, Error, Trace}
  alias Kantoku.Health.Pulse
  alias Kantoku.Metrics.AgentCalls
  alias Kantoku.SLO.Watch

  require AgentCalls

  @timeout 5_000

  @doc "See `Kantoku.call/4`."
  @spec call(atom, term, term, timeout | keyword) :: {:ok, term} | {:error, Error.t()}
  def call(instance, id, request, opts) when is_list(opts) do
    {timeout, parent} = options!(opts, [:timeout, :trace])
    traced(Trace.Config.of(instance), instance, id, request, timeout, parent)
  end

  def call(instance, id, request, timeout),
    do: traced(Trace.Config.of(instance), instance, id, request, timeout, nil)

  defp traced(nil, instance, id, request, timeout, _parent), do: counted(instance, id, request, timeout, nil)

  defp traced(config, instance, id, request, timeout, parent) do
    parent = parent || Trace.Agents.place_of(request)
    Trace.Agents.span(config, {:agent, id}, :client, parent, &counted(instance, id, request, timeout, &1))
  end

  defp counted(instance, id, request, timeout, place) do
    if AgentCalls.timed?(),
      do: AgentCalls.time(instance, id, fn -> judged(instance, id, request, timeout, place) end),
      else: judged(instance, id, request, timeout, place)
  end

  defp judged(instance, id, request, timeout, place) do
    case Watch.types(instance) do
      nil -> ask(instance, id, request, timeout, place)
      types -> Watch.agent(types, instance, id, fn -> ask(instance, id, request, timeout, place) end)
    end
  end

  defp ask(instance, id, request, timeout, place) do
    with {:ok, pid} <- admitted(instance, id),
         do:
           attempt(instance, id, timeout, fn ->
             Pulse.awaiting(pid, fn -> exchange(pid, request, timeout, place) end)
           end)
  end

  defp exchange(pid, request, timeout, nil), do: GenServer.call(pid, request, timeout)
  defp exchange(pid, request, timeout, place), do: Trace.Agents.call(pid, request, timeout, place)

  defp options!(opts, known) do
    for {option, value} <- opts, option not in known or not fits?(option, value) do
      raise ArgumentError,
            "Kantoku, option #{inspect(option)} of a request: expected some of #{inspect(known)} - " <>
              "timeout: ms or :infinity, trace: a Kantoku.Trace.Context or nil - got: #{inspect(value)}"
    end

    {Keyword.get(opts, :timeout, @timeout), Trace.Open.from_context(opts[:trace])}
  end

  defp fits?(:timeout, timeout), do: timeout == :infinity or (is_integer(timeout) and timeout >= 0)
  defp fits?(:trace, context), do: context == nil or is_struct(context, Trace.Context)

  @doc "See `Kantoku.state/3`. Not refused by a drain, as it is no work."
  @spec state(atom, term, timeout) :: {:ok, term} | {:error, Error.t()}
  def state(instance, id, timeout) do
    with {:ok, pid} <- Agents.fetch(instance, id),
         do: attempt(instance, id, timeout, fn -> Kantoku.Agent.Server.state(pid, timeout) end)
  end

  @doc "See `Kantoku.cast/3`."
  @spec cast(atom, term, term, keyword) :: :ok | {:error, Error.t()}
  def cast(instance, id, request, opts) do
    {_timeout, parent} = options!(opts, [:trace])

    case Trace.Config.of(instance) do
      nil -> tell(instance, id, &GenServer.cast(&1, request))
      config -> cast_traced(config, instance, id, request, parent || Trace.Agents.place_of(request))
    end
  end

  defp cast_traced(config, instance, id, request, parent),
    do: Trace.Agents.span(config, {:agent, id}, :producer, parent, &told(instance, id, request, &1))

  defp told(instance, id, request, place),
    do: tell(instance, id, &Trace.Agents.cast(instance, id, &1, request, place))

  defp tell(instance, id, send), do: with({:ok, pid} <- admitted(instance, id), do: send.(pid))

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
