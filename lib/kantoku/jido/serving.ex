if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Serving do
    # The spans of what an agent of Jido's does with a signal, as other agents have them (`Kantoku.Trace.Handling`); and the trace that the signal
    # goes on in: its own, or else that of the span. Knows nothing of Jido's state.
    #
    # A call has one from when Jido begins it until its result is there, on which a task works meanwhile. A signal that is cast has one if it has
    # a trace: one that has none may be of a trace that is not recorded, which says nothing of itself here.
    @moduledoc false

    alias Jido.Signal
    alias Kantoku.Jido.{Life, Traced}
    alias Kantoku.Trace.{Config, Handling, Open}

    @doc "A call is begun: its signal as it goes on, and the life with its span."
    @spec begin(Life.t(), Signal.t(), Handling.carried()) :: {Signal.t(), Life.t()}
    def begin(%{holding: %{id: id, config: %{instance: instance}}} = life, signal, carried) do
      span = Handling.begun(instance, id, carried || own(instance, signal))
      {Traced.trace(signal, Handling.place_of(span)), %{life | span: span}}
    end

    @doc "It has its result."
    @spec ended(Life.t(), result :: tuple) :: Life.t()
    def ended(life, result) do
      Handling.done(life.span, error(result))
      %{life | span: nil}
    end

    @doc "It has none, and the agent ends by that."
    @spec broken(Life.t(), error :: String.t()) :: Life.t()
    def broken(life, error) do
      Handling.broken(life.span, error)
      %{life | span: nil}
    end

    @doc "Has `fun` serve a signal that nobody waits for, as it goes on."
    @spec told(Life.t(), Signal.t(), Handling.carried(), (Signal.t() -> result)) :: result when result: term
    def told(%{holding: %{id: id, config: %{instance: instance}}}, signal, carried, fun) do
      case carried || own(instance, signal) do
        nil -> fun.(Traced.trace(signal))
        above -> Handling.span(instance, id, above, fn -> fun.(Traced.trace(signal, Open.here())) end)
      end
    end

    # Where a signal says itself that it is.
    defp own(instance, signal) do
      with %Config{} <- Config.of(instance),
           context when context != nil <- Traced.context(signal),
           do: {Open.from_context(context), nil}
    end

    defp error(result) when elem(result, 0) == :ok, do: nil
    defp error({:exception, :error, reason, stacktrace}), do: named(Exception.normalize(:error, reason, stacktrace))
    defp error({:exception, kind, _reason, _stacktrace}), do: Atom.to_string(kind)
    defp error(result), do: named(elem(result, 1))

    # What it says may be what the agent holds.
    defp named(%module{__exception__: true}), do: inspect(module)
    defp named(_reason), do: "error"
  end
end
