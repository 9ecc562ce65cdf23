defmodule Kantoku.Breaker.Door do
  # Calls through a breaker, in the process that makes them. Knows no process.
  @moduledoc false

  alias Kantoku.Breaker.{Changes, Clerk}
  alias Kantoku.Engine.Breakers
  alias Kantoku.Error

  @doc "See `Kantoku.Breaker.acquire/1`."
  @spec acquire(Kantoku.Breaker.t()) :: {:ok, Breakers.ticket()} | {:error, Error.t()}
  def acquire({instance, name} = breaker) do
    case Breakers.breaker_allow(instance, name) do
      ticket when is_integer(ticket) -> {:ok, ticket}
      answer -> let(breaker, Changes.told(answer, breaker))
    end
  end

  @doc "What an answer that is no ticket means."
  @spec let(Kantoku.Breaker.t(), term) :: {:ok, Breakers.ticket()} | {:error, Error.t()}
  def let(_breaker, ticket) when is_integer(ticket), do: {:ok, ticket}

  def let(breaker, {:refused, retry_in}),
    do: {:error, Error.new(:breaker_open, breaker: breaker, retry_in: retry_in)}

  # In the time that its instance's core is being started again.
  def let({instance, name} = breaker, :unknown) do
    with :ok <- Clerk.ask(instance, {:revive, name}) do
      case Changes.told(Breakers.breaker_allow(instance, name), breaker) do
        :unknown -> {:error, Error.new(:restarting, breaker: breaker, retry_in: 1)}
        answer -> let(breaker, answer)
      end
    end
  end

  @doc "How a call ended; `:ok` whether or not that was counted."
  @spec record(Kantoku.Breaker.t(), Breakers.ticket() | nil, Breakers.ending(), non_neg_integer) ::
          :ok | {:error, Error.t()}
  def record({instance, name} = breaker, ticket, ending, duration_ns) do
    case Breakers.breaker_record(instance, name, ticket, ending, duration_ns) do
      counted? when is_boolean(counted?) -> :ok
      :unknown -> Clerk.ask(instance, {:revive, name})
      answer -> Changes.told(answer, breaker) && :ok
    end
  end

  @doc "See `Kantoku.Breaker.run/3`."
  @spec run(Kantoku.Breaker.t(), (() -> result), keyword) :: {:ok, result | term} | {:error, Error.t()}
        when result: term
  def run(breaker, fun, opts) when is_function(fun, 0) do
    %{fallback: fallback, failure?: failure?} = Enum.reduce(opts, defaults(), &option/2)

    case acquire(breaker) do
      {:ok, ticket} -> work(breaker, ticket, fun, failure?, fallback)
      {:error, %{reason: :breaker_open} = error} when fallback != nil -> {:ok, fallback.(error)}
      refused -> refused
    end
  end

  defp defaults, do: %{fallback: nil, failure?: &failure?/1}

  defp option({:fallback, nil}, options), do: options
  defp option({:fallback, fun}, options) when is_function(fun, 1), do: %{options | fallback: fun}
  defp option({:failure?, fun}, options) when is_function(fun, 1), do: %{options | failure?: fun}

  defp option(other, _options) do
    raise ArgumentError,
          "Kantoku.Breaker.run/3: expected :fallback or :failure? with a function of one argument, got: #{inspect(other)}"
  end

  defp failure?(:error), do: true
  defp failure?({:error, _reason}), do: true
  defp failure?(_result), do: false

  # Whatever way it ends, its permit is used up or goes back.
  defp work(breaker, ticket, fun, failure?, fallback) do
    begun = now()

    try do
      result = fun.()
      {result, if(failure?.(result), do: :error, else: :ok)}
    catch
      kind, reason ->
        record(breaker, ticket, :error, now() - begun)

        if fallback,
          do: {:ok, fallback.(exception(kind, reason, __STACKTRACE__))},
          else: :erlang.raise(kind, reason, __STACKTRACE__)
    else
      {result, ending} ->
        record(breaker, ticket, ending, now() - begun)
        {:ok, result}
    end
  end

  defp exception(:error, reason, stacktrace), do: Exception.normalize(:error, reason, stacktrace)
  defp exception(kind, reason, _stacktrace), do: %ErlangError{original: {kind, reason}}

  defp now, do: System.monotonic_time(:nanosecond)
end
