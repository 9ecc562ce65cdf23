defmodule Kantoku.Engine.Traces do
  @moduledoc """
  What an engine keeps of traces: finished spans, until somebody takes them.

  ## Rules

    * **S1** What is kept is never more than as many spans as were allowed, nor more than as many bytes.
    * **S2** A span that is handed in is kept, or dropped and counted; never both, never neither. Who hands in never waits.
    * **S3** What is kept is taken once, in the order in which it came.
  """

  import Kantoku.Engine.Dispatch

  @type instance :: Kantoku.Engine.instance()

  @typedoc "The upper and the lower 64 bits of a trace's id."
  @type trace :: {non_neg_integer, non_neg_integer}
  @type value :: binary | integer | float | boolean
  @type attributes :: [{name :: binary, value}]
  @type event :: {at :: integer, name :: binary, attributes}
  @type link :: {trace, span :: pos_integer, flags :: byte, state :: binary}

  @typedoc "How many of a span's were left out, as there were too many."
  @type left_out :: {attributes :: non_neg_integer, events :: non_neg_integer, links :: non_neg_integer}

  @typedoc "Trace, span, parent (0: none), flags, tracestate, name, OTLP's kind, beginning and end in ns since 1970, OTLP's status."
  @type span ::
          {trace, span :: pos_integer, parent :: non_neg_integer, flags :: byte, state :: binary, name :: binary,
           kind :: 0..5, began :: integer, ended :: integer, status :: 0..2, attributes, [event], [link], left_out}

  @typedoc "`held` spans of `bytes`; of those that were handed in, how many were `kept` and `dropped`, and how many of the kept were `taken`."
  @type counts :: %{
          held: non_neg_integer,
          bytes: non_neg_integer,
          kept: non_neg_integer,
          dropped: non_neg_integer,
          taken: non_neg_integer
        }

  @doc "Begins to keep spans, no more than these. What was kept before with other limits is lost; with the same it stays, and its counts."
  @callback trace_open(instance, most :: pos_integer, most_bytes :: pos_integer) :: :ok | :unknown

  @doc "Hands a span in; one that is none may be `:dropped`. `:closed`: none are kept."
  @callback trace_put(instance, span) :: :ok | :dropped | :closed | :unknown

  @doc "Takes so many of the oldest, or fewer: an engine gives 64 in one answer at most."
  @callback trace_take(instance, most :: pos_integer) :: [span] | :unknown

  @doc "How many there are and were, since they are kept."
  @callback trace_counts(instance) :: counts | :unknown

  @spec trace_open(instance, pos_integer, pos_integer) :: :ok | :unknown
  dispatch(trace_open(instance, most, most_bytes))

  @doc """
  Has native threads take what an instance keeps from now on, as exporters do; to be asked for after `trace_open/3`. The native engine's they see
  anyway. The other's are kept natively as well then, under the same rules, where the library is there to do so; else they stay.
  """
  @spec trace_share(instance) :: :ok | :unknown
  def trace_share(instance) do
    case Kantoku.Native.trace_counts(instance) do
      :unknown -> Kantoku.Engine.Elixir.Traces.share(instance)
      _kept_natively -> :ok
    end
  end

  @spec trace_put(instance, span) :: :ok | :dropped | :closed | :unknown
  dispatch(trace_put(instance, span))

  @spec trace_take(instance, pos_integer) :: [span] | :unknown
  dispatch(trace_take(instance, most))

  @spec trace_counts(instance) :: counts | :unknown
  dispatch(trace_counts(instance))
end
