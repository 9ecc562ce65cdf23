if Code.ensure_loaded?(Jido.AgentServer) do
  defmodule Kantoku.Jido.Traced do
    # A signal with the trace that Jido gives to one that has none, without the question to Jido's registry of extensions that is part of
    # that: it is one process for all agents. Knows how Jido writes a trace only by having it write one. And such a trace as a context of ours.
    #
    # A trace's ids are UUIDs of version 7 (RFC 9562), as Jido's are. They are made here, since Jido reads each again that it made, which
    # takes as long as five others.
    @moduledoc false

    alias Jido.Signal
    alias Jido.Tracing.Trace
    alias Kantoku.Trace.{Context, Open}

    @namespace "correlation"
    @key __MODULE__

    @doc "To be called before `trace/1`: sees whether Jido writes a trace as is done here. While it does not, that is left to Jido."
    @spec learn() :: boolean
    def learn, do: known?() or (same?() and :persistent_term.put(@key, true) == :ok)

    defp known?, do: :persistent_term.get(@key, false)

    defp same? do
      {signal, trace} = {Signal.new!("kantoku.trace", %{}, source: "/kantoku"), Trace.new_root()}
      Trace.put(signal, trace) == {:ok, put(signal, trace)} and uuid?(trace.trace_id) and uuid?(trace.span_id)
    catch
      # Its registry of extensions is not running.
      :exit, _reason -> false
    end

    defp uuid?(
           <<_::binary-size(8), "-", _::binary-size(4), "-7", _::binary-size(3), "-", _::binary-size(4), "-",
             rest::binary>>
         ),
         do: byte_size(rest) == 12

    defp uuid?(_other), do: false

    @doc "The signal with a trace of its own, if it has none."
    @spec trace(Signal.t()) :: Signal.t()
    def trace(%Signal{extensions: extensions} = signal) when is_map_key(extensions, @namespace), do: signal

    def trace(%Signal{} = signal) do
      if known?(), do: put(signal, root()), else: signal
    end

    # In pieces that are small integers.
    defp root do
      now = System.system_time(:millisecond)
      <<a::12, b::30, c::32, d::12, e::30, f::32, _::12>> = :crypto.strong_rand_bytes(20)
      %{trace_id: uuid(now, a, b, c), span_id: uuid(now, d, e, f)}
    end

    # Said with all sizes, so that it is made in one step.
    defp uuid(now, a, b, c) do
      <<p::binary-size(8), q::binary-size(4), r::binary-size(4), s::binary-size(4), t::binary-size(12)>> =
        Base.encode16(<<now::48, 7::4, a::12, 2::2, b::30, c::32>>, case: :lower)

      <<p::binary-size(8), ?-, q::binary-size(4), ?-, r::binary-size(4), ?-, s::binary-size(4), ?-, t::binary-size(12)>>
    end

    @doc "As `trace/1`, of a signal that is served there: if that is recorded, the signal goes on in it."
    @spec trace(Signal.t(), Open.place() | nil) :: Signal.t()
    def trace(%Signal{} = signal, nil), do: trace(signal)
    def trace(%Signal{} = signal, place), do: signal |> follow(place) |> trace()

    @doc "Whether its trace is one that was written here, and not by Jido."
    @spec followed?(Signal.t()) :: boolean
    def followed?(%Signal{extensions: %{@namespace => %{trace_id: <<_digits::binary-32>>}}}), do: true
    def followed?(%Signal{}), do: false

    @doc "The signal with that place for its trace, if it has none and what is there is recorded: Jido has no word for what is not."
    @spec follow(Signal.t(), Open.place()) :: Signal.t()
    def follow(%Signal{extensions: extensions} = signal, _place) when is_map_key(extensions, @namespace), do: signal

    def follow(%Signal{} = signal, place) do
      with true <- known?(), %Context{sampled: true} = context <- Open.to_context(place) do
        put(signal, ids(context))
      else
        _not_recorded -> signal
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
      # Jido's own ids are UUIDs: as many digits as a trace's, of which a span's has the half that is random. It does not say who records.
      case Context.parse("00-#{digits(trace)}-#{String.slice(digits(span), -16, 16)}-00", found[:tracestate]) do
        {:ok, context} -> %{context | sampled: nil}
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
