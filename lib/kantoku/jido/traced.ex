if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Traced do
    # A signal with the trace that Jido gives to one that has none, without the question to Jido's registry of extensions that is part of
    # that: it is one process for all agents. Knows how Jido writes a trace only by having it write one.
    @moduledoc false

    alias Jido.Signal
    alias Jido.Tracing.Trace

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

    # A root has no parent and no cause, and Jido writes only what is there.
    defp put(%Signal{extensions: extensions} = signal, %{trace_id: trace, span_id: span}),
      do: %Signal{signal | extensions: Map.put(extensions, @namespace, %{trace_id: trace, span_id: span})}
  end
end
