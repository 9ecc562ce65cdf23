defmodule Kantoku.Breaker do
  @moduledoc """
  Whether what keeps failing is to be asked at all.

      {Kantoku, name: MyApp.Agents, breakers: [[name: :model_api, failure_rate_threshold: 20]]}

      Kantoku.Breaker.run({MyApp.Agents, :model_api}, fn -> ask_model(prompt) end, fallback: fn _error -> cached(prompt) end)

  A service that is down costs each of its callers a time-out, and is kept down by them. A breaker in front of it counts how
  calls end. When too many fail, or take too long, it *opens*: callers are refused at once, with the time at which to come
  again. Then a few of them try (*half-open*), and by what they find it closes or stays open. States, names of parameters and
  defaults are those of [resilience4j](https://resilience4j.readme.io/docs/circuitbreaker).

  To ask a breaker that lets calls pass costs some tens of nanoseconds on the native engine, and no process is in the way. A
  breaker belongs to an instance and has any term as its name; to find it is quickest where that is an atom or a small integer.

  ## Options

  #{Kantoku.Breaker.Config.docs()}

  All of them can be changed while it runs (`configure/2`).

  ## States

    * `:closed` - calls pass, and are counted; `:open` - none passes; `:half_open` - so many pass as are permitted;
    * `:disabled` - all pass and nothing is counted; `:metrics_only` - all pass and are counted; `:forced_open` - none passes. A
      breaker is put into these, and out of them, by `set/2` alone.

  A state and what was counted in it end with the registry of their instance; then a breaker begins closed, or in the one of the
  last three that it was put into. Options and those are the instance's, and end with it.

  All of it goes by the time in which the VM ran: if that was stopped for more than a second or two (SIGSTOP, a suspended machine),
  what was under way is not counted, and waits and windows go on where they were.

  Each change of state is an event, `[:kantoku, :breaker, :state_changed]` (`Kantoku.Telemetry`).

  ## What differs from resilience4j

  An outcome counts only in the state that its call was let pass in: what was asked before a breaker opened says nothing of what
  tries it later. A process that dies as it tries gives its permit back. All changes of state are made when somebody asks or
  records, or by the breaker's own timers where it has any (`automatic_transition_from_open_to_half_open_enabled`,
  `max_wait_duration_in_half_open_state`).

  All functions but `allow?/1` answer `{:error, %Kantoku.Error{}}`, `:not_found` where there is no such breaker, `:not_running`
  where there is no such instance, and `:restarting` while its core is being started again. See the guide "Breakers".
  """

  alias Kantoku.Breaker.{Changes, Clerk, Config, Door, Notes}
  alias Kantoku.{Engine, Error, Instances, Telemetry}

  @typedoc "A breaker of an instance."
  @type t :: {instance :: atom, name :: term}

  @type state :: Engine.Breakers.state()

  @typedoc "How a call ended. `:ignore`: as if it had not been made."
  @type outcome :: Engine.Breakers.ending()

  @typedoc "Names one admission."
  @type ticket :: Engine.Breakers.ticket()

  @states [:closed, :open, :half_open, :disabled, :forced_open, :metrics_only]

  # Calls ------------------------------------------------------------------------------------------------------------------

  @doc """
  Runs `fun` if the breaker lets it, records how it ended, and answers `{:ok, result}`.

    * `:fallback` - a function of an exception, run in place of `fun` when the breaker refuses (then that is a `Kantoku.Error`),
      and when `fun` raised, threw or exited (of the latter two an `ErlangError`); its value is the result;
    * `:failure?` - a function of the result that says whether it counts as a failure; by default `:error` and `{:error, _}` do.

  Without a fallback, a refusal is `{:error, %Kantoku.Error{reason: :breaker_open}}`, whose `details.retry_in` says in how many
  ms to come again (`:never` if it is forced open), and what `fun` raises passes through.

      {:ok, answer} = Kantoku.Breaker.run({MyApp.Agents, :model_api}, fn -> ask_model(prompt) end)
  """
  @spec run(t, (() -> result), keyword) :: {:ok, result | term} | {:error, Error.t()} when result: term
  defdelegate run(breaker, fun, opts \\ []), to: Door

  @doc """
  Whether a call may be made now. In a half-open breaker `true` is one of its permits: say how the call ended by `record/3`,
  in the same process. Raises a `Kantoku.Error` where there is no such breaker.

      if Kantoku.Breaker.allow?({MyApp.Agents, :model_api}), do: ask_model(prompt)
  """
  @spec allow?(t) :: boolean
  def allow?({instance, name} = breaker) do
    # Without the step of the dispatch between: it is a part of what this costs that can be measured.
    case Kantoku.Native.breaker_allow(instance, name) do
      ticket when is_integer(ticket) -> true
      :unknown -> allowed?(Door.acquire(breaker))
      answer -> allowed?(Door.let(breaker, Changes.told(answer, breaker)))
    end
  end

  defp allowed?({:ok, _ticket}), do: true
  defp allowed?({:error, %{reason: :breaker_open}}), do: false
  defp allowed?({:error, error}), do: raise(error)

  @doc """
  As `allow?/1`, with a ticket for `record/4`, or why not: `:breaker_open`, with `retry_in`.
  """
  @spec acquire(t) :: {:ok, ticket} | {:error, Error.t()}
  defdelegate acquire(breaker), to: Door

  @doc """
  Says how a call ended and how many ms it took.

  With the ticket of `acquire/1` it counts if the breaker is still in the state that the ticket is of. Without one it counts for
  the state that is, and uses up the oldest permit of the calling process, if that has any.

      :ok = Kantoku.Breaker.record({MyApp.Agents, :model_api}, :error, 1_500)
  """
  @spec record(t, outcome, duration :: non_neg_integer, ticket | nil) :: :ok | {:error, Error.t()}
  def record(breaker, outcome, duration \\ 0, ticket \\ nil),
    do: Door.record(breaker, ticket, outcome, duration * 1_000_000)

  # Looking ----------------------------------------------------------------------------------------------------------------

  @doc """
  What a breaker has counted and does:

    * `state`, and `since`, the ms that it has been in it; `retry_in`, ms or `:never`; 0 where a call may pass now;
    * `calls` in the window, of which `failed` and `slow`; `failure_rate` and `slow_call_rate` in percent, `nil` of fewer than
      `minimum_number_of_calls`;
    * `permits` that are left to a half-open breaker, and `trying`, those that are out;
    * `refused`: how many calls it did not let pass since it was opened.
  """
  @spec status(t) :: {:ok, map} | {:error, Error.t()}
  def status({instance, name} = breaker) do
    case Changes.told(Engine.Breakers.breaker_ask(instance, name, :status, nil), breaker) do
      :unknown -> with :ok <- Clerk.ask(instance, {:revive, name}), do: status(breaker)
      status -> {:ok, shown(status)}
    end
  end

  defp shown({state, retry_in, since, calls, failed, slow, minimum, left, out, refused}) do
    rate = fn count -> if calls >= minimum, do: count * 100 / calls end

    %{
      state: state,
      since: since,
      retry_in: retry_in,
      calls: calls,
      failed: failed,
      slow: slow,
      failure_rate: rate.(failed),
      slow_call_rate: rate.(slow),
      permits: left,
      trying: out,
      refused: refused
    }
  end

  @doc "The names of an instance's breakers, in no order. That of a pool is `{:pool, name}`."
  @spec names(instance :: atom) :: {:ok, [term]} | {:error, Error.t()}
  def names(instance), do: Instances.reading(instance, fn _rows, book -> {:ok, Notes.names(book)} end)

  # Life -------------------------------------------------------------------------------------------------------------------

  @doc """
  Installs a breaker, closed; one that is there gets these options, and keeps its state. Raises `ArgumentError` on a bad option.

      {:ok, breaker} = Kantoku.Breaker.install(MyApp.Agents, {:tenant, 7}, sliding_window_size: 20)
  """
  @spec install(instance :: atom, name :: term, keyword) :: {:ok, t} | {:error, Error.t()}
  def install(instance, name, opts \\ []) do
    config = Config.new!(opts, Config.where(name))

    with :ok <- Clerk.ask(instance, {:install, name, config}) do
      Telemetry.emit(instance, [:breaker, :installed], %{}, %{breaker: name})
      {:ok, {instance, name}}
    end
  end

  @doc """
  Changes options of a breaker. What was counted stays as long as type, size and minimum of the window do; an open one waits as
  long as the new options say, counted from when it opened; a half-open one begins its trials anew. Raises `ArgumentError` on a
  bad option.
  """
  @spec configure(t, keyword) :: :ok | {:error, Error.t()}
  def configure({instance, name}, changes) do
    where = Config.where(name)
    # Raises here, and not in the clerk: what is checked does not depend on the other options.
    _ = [] |> Config.new!(where) |> Config.change!(changes, where)

    instance
    |> Clerk.ask({:configure, name, &Config.change!(&1, changes, where)})
    |> Telemetry.options_changed(instance, {:breaker, name}, changes)
  end

  @doc "Removes a breaker."
  @spec remove(t) :: :ok | {:error, Error.t()}
  def remove({instance, name}) do
    with :ok <- Clerk.ask(instance, {:remove, name}),
         do: Telemetry.emit(instance, [:breaker, :removed], %{}, %{breaker: name})
  end

  @doc """
  Puts a breaker into a state, whatever it is in; into the one that it is in, as if it had just come there. From `:closed`,
  `:open` and `:half_open` it goes on by itself; in the others it stays.

      :ok = Kantoku.Breaker.set({MyApp.Agents, :model_api}, :forced_open)
  """
  @spec set(t, state) :: :ok | {:error, Error.t()}
  def set({instance, name}, state) when state in @states, do: Clerk.ask(instance, {:set, name, state})

  def set(_breaker, other),
    do: raise(ArgumentError, "state of a breaker: expected one of #{inspect(@states)}, got: #{inspect(other)}")

  @doc "Closes a breaker, with nothing counted: `set(breaker, :closed)`."
  @spec reset(t) :: :ok | {:error, Error.t()}
  def reset(breaker), do: set(breaker, :closed)
end
