if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Traced do
    # A signal with the trace that Jido gives to one that has none, without the question to Jido's registry of extensions that is part of
    # that: it is one process for all agents. Knows how Jido writes a trace only by having it write one. And such a trace as a context of ours.
    @moduledoc false

    alias Jido.Signal
    alias Jido.Tracing.Trace
    alias Kantoku.Trace.{Agents, Context, Open}

    @namespace "correlation"
    @key __MODULE__

    @doc "To be called before `trace/1`: sees whether Jido writes a trace as is done here. While it does not, that is left to Jido."
    @spec learn() :: boolean
    def learn, do: known?() or (same?() and :persistent_term.put(@key, true) == :ok)

    defp known?, do: :persistent_term.get(@key, false)

    defp same? do
      {signal, trace} = {Signal.new!("kantoku.trace", %{}, source: "/kantoku"), Trace.new_root()}
      Trace.put(signal, trace) == {:ok, put(signal, trace)}
    catch
      # Its registry of extensions is not running.
      :exit, _reason -> false
    end

    @doc "The signal with a trace of its own, if it has none."
    @spec trace(Signal.t()) :: Signal.t()
    def trace(%Signal{extensions: extensions} = signal) when is_map_key(extensions, @namespace), do: signal

    def trace(%Signal{} = signal) do
      if known?(), do: put(signal, Trace.new_root()), else: signal
    end

    @doc "As `trace/1`, of a signal that came with a call: what is recorded of who called goes on in it."
    @spec trace(Signal.t(), GenServer.from()) :: Signal.t()
    def trace(%Signal{extensions: extensions} = signal, _from) when is_map_key(extensions, @namespace), do: signal

    def trace(%Signal{} = signal, from) do
      with true <- known?(),
           {place, nil} <- Agents.carried(from),
           %Context{sampled: true} = context <- Open.to_context(place) do
        put(signal, ids(context))
      else
        _not_recorded -> trace(signal)
      end
    end

    @doc "See `Kantoku.Jido.put_context/2`."
    @spec put_context(Signal.t(), Context.t()) :: Signal.t()
    def put_context(%Signal{} = signal, context) do
      {:ok, signal} = Trace.put(signal, with_state(ids(context), context.state))
      signal
    end

    defp ids(context), do: %{trace_id: Context.trace_id(context), span_id: Context.span_id(context)}

    defp with_state(ids, ""), do: ids
    defp with_state(ids, state), do: Map.put(ids, :tracestate, state)

    @doc "See `Kantoku.Jido.context/1`."
    @spec context(Signal.t()) :: Context.t() | nil
    def context(%Signal{extensions: %{@namespace => %{trace_id: trace, span_id: span} = found}}) do
      # Jido's own ids are UUIDs: as many digits as a trace's, of which a span's has the half that is random.
      case Context.parse("00-#{digits(trace)}-#{String.slice(digits(span), -16, 16)}-01", found[:tracestate]) do
        {:ok, context} -> context
        :error -> nil
      end
    end

    def context(%Signal{}), do: nil

    defp digits(id), do: id |> String.replace("-", "") |> String.downcase()

    # A root has no parent and no cause, and Jido writes only what is there.
    defp put(%Signal{extensions: extensions} = signal, %{trace_id: trace, span_id: span}),
      do: %Signal{signal | extensions: Map.put(extensions, @namespace, %{trace_id: trace, span_id: span})}
  end
end
