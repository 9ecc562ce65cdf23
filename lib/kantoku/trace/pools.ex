defmodule Kantoku.Trace.Pools do
  # The spans of requests to a pool, in the process that makes them: a detour around all others. A request for an agent of ours takes
  # its context with it; any other worker is sent what it always was. Knows no worker.
  @moduledoc false

  alias Kantoku.Domain.Rows
  alias Kantoku.Pool.{Detours, Lease, Ways, Worker}
  alias Kantoku.Trace.{Agents, Clock, Config, Context, Open}

  require Clock
  require Rows

  @doc "Has a pool's requests make this detour, if its instance traces; whether they do."
  @spec set(Kantoku.Pool.t(), Kantoku.Pool.Config.t()) :: boolean
  def set({instance, _name} = pool, config) do
    traced? = Config.of(instance) != nil
    if traced?, do: Detours.put(:trace, pool, {:ours, ours?(instance, config)}), else: forget(pool)
    traced?
  end

  @spec forget(Kantoku.Pool.t()) :: :ok
  def forget(pool), do: Detours.erase(:trace, pool)

  # Whether the workers are processes of our own servers, which unwrap what they are sent.
  defp ours?(instance, config) do
    Rows.row(what: what) = Worker.wish(instance, config, 0)
    Agents.wraps?(what)
  end

  @doc "As `Kantoku.Pool.call/3`."
  @spec call(Kantoku.Pool.t(), term, keyword) :: {:ok, term} | {:error, Kantoku.Error.t()}
  def call(pool, request, opts) do
    span(pool, {opts, request}, :client, fn place ->
      Ways.call(Detours.untraced(pool, opts), pool, sent(pool, request, place), opts)
    end)
  end

  @doc "As `Kantoku.Pool.cast/3`."
  @spec cast(Kantoku.Pool.t(), term, keyword) :: :ok | {:error, Kantoku.Error.t()}
  def cast(pool, request, opts) do
    span(pool, {opts, request}, :producer, fn place ->
      Ways.cast(Detours.beyond(pool, opts), pool, sent(pool, request, place), opts)
    end)
  end

  @doc "As `Kantoku.Pool.run/3`; when its turn came is an event."
  @spec run(Kantoku.Pool.t(), (pid -> result), keyword) :: {:ok, result} | {:error, Kantoku.Error.t()}
        when result: term
  def run(pool, fun, opts) when is_function(fun, 1) do
    span(pool, {opts, nil}, :client, fn _place ->
      asked = Clock.now()

      granted = fn worker ->
        taken_up(asked)
        fun.(worker)
      end

      Ways.run(Detours.untraced(pool, opts), pool, granted, opts)
    end)
  end

  defp taken_up(asked), do: Open.event("kantoku.taken_up", "kantoku.wait": Clock.seconds(Clock.now() - asked))

  @doc "As `Kantoku.Pool.checkout/2`; the lease has the span, which lasts until it is handed in, and is current nowhere meanwhile."
  @spec checkout(Kantoku.Pool.t(), keyword) :: {:ok, Lease.t()} | {:error, Kantoku.Error.t()}
  def checkout({instance, _name} = pool, opts) do
    case Config.of(instance) do
      nil -> Ways.checkout(Detours.untraced(pool, opts), pool, opts)
      config -> checkout(config, pool, opts)
    end
  end

  defp checkout(config, {_instance, name} = pool, opts) do
    span = Open.begin(config, {:pool, name}, :client, parent(opts))
    asked = Clock.now()

    try do
      Ways.checkout(Detours.untraced(pool, opts), pool, opts)
    catch
      kind, reason ->
        Open.fail(span, kind, reason, __STACKTRACE__)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      {:ok, lease} ->
        taken_up(asked)
        {:ok, %{lease | span: Open.lift(span)}}

      {:error, %{reason: reason}} = refused ->
        Open.finish(span, Atom.to_string(reason))
        refused
    end
  end

  @doc "As `Kantoku.Pool.checkin/2`; the span ends, as one that failed if the lease did."
  @spec checkin(Lease.t(), Kantoku.Pool.outcome()) :: :ok | {:error, Kantoku.Error.t()}
  def checkin(%Lease{span: span} = lease, outcome) do
    answer = Ways.checkin(%{lease | span: nil}, outcome)
    over(answer, span, lease.pid, outcome)
    answer
  end

  defp over(:ok, span, _worker, outcome), do: Open.over(span, if(outcome != :ok, do: Atom.to_string(outcome)))

  # It is somebody else's, and goes on.
  defp over({:error, %{reason: :not_owner}}, _span, _worker, _outcome), do: :ok

  # The worker died, or it was handed in before: of what is recorded it is known which.
  defp over({:error, %{reason: reason}}, span, worker, _outcome) do
    cond do
      not Process.alive?(worker) -> Open.over(span, "crashed")
      Open.sampled?(span) -> Open.over(span, Atom.to_string(reason))
      true -> :ok
    end
  end

  # The pool may have been opened by an instance that traced, which this one does not.
  defp span({instance, name}, {opts, request}, kind, send) do
    case Config.of(instance) do
      nil -> send.(nil)
      config -> Agents.span(config, {:pool, name}, kind, parent(opts) || Agents.place_of(request), send)
    end
  end

  # A bad option is for those to refuse who read all of them.
  defp parent([_ | _] = opts) do
    case List.keyfind(opts, :trace, 0) do
      {:trace, %Context{} = context} -> Open.from_context(context)
      _none -> nil
    end
  end

  defp parent(_none), do: nil

  defp sent(_pool, request, nil), do: request

  defp sent(pool, request, place) do
    case Detours.get(:trace, pool) do
      {:ours, true} -> Agents.wrapped(request, place)
      _other -> Agents.followed(request, place)
    end
  end
end
