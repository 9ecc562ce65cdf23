defmodule Kantoku.Telemetry.Attachment do
  # What was asked of a handler: which events, how it is run, and what follows when it fails. Pure; knows no process.
  @moduledoc false

  alias Kantoku.Domain.Ledger
  alias Kantoku.Options

  @backoff [
    base: [kind: :positive, default: 1_000, doc: "ms before the second time in a row; then doubling, with full jitter."],
    cap: [kind: :positive, default: 60_000, doc: "ms, the most it doubles to."],
    reset_after: [
      kind: :positive,
      default: 60_000,
      doc: "ms without a failure after which one counts as the first again."
    ]
  ]

  @budget [
    crashes: [kind: {:positive_or, [:infinity]}, default: 10, doc: "how often it may fail within the window."],
    within: [kind: :positive, default: 600_000, doc: "ms, the sliding window."]
  ]

  @policy [
    on_failure: [
      kind: {:one_of, [:reattach, :leave]},
      default: :reattach,
      doc: "what follows when it fails: it is attached again, or left out until somebody does that."
    ],
    backoff: [kind: {:options, @backoff}, doc: "when; the first time is at once:"],
    budget: [kind: {:options, @budget}, doc: "how often, before it is left out all the same:"]
  ]

  @schema [
            mode: [
              kind: {:one_of, [:async, :sync]},
              default: :async,
              doc:
                "`:async`: in a process of its own, in order. `:sync`: in the process that emits, which waits for it."
            ],
            queue: [
              kind: :positive,
              default: 1_000,
              doc:
                "how many events may wait for it, or, with `:sync`, be in its hands at the same time; one more is dropped and counted."
            ],
            instance: [kind: :any, default: nil, doc: "whose events; `nil`: those of all, and of none."],
            config: [kind: :any, default: nil, doc: "given to it each time; copied, so a small one."]
          ] ++ @policy

  @enforce_keys [:id, :numbers, :fun, :mode, :queue, :instance, :config, :policy]
  defstruct @enforce_keys

  @typedoc "What follows when a handler fails."
  @type policy :: %{
          on_failure: :reattach | :leave,
          backoff: %{base: pos_integer, cap: pos_integer, reset_after: pos_integer},
          budget: %{crashes: pos_integer | :infinity, within: pos_integer},
          on_exhausted: :park,
          unpark: :never
        }

  @type t :: %__MODULE__{
          id: term,
          numbers: [pos_integer],
          fun: Kantoku.Telemetry.Handler.fun(),
          mode: :async | :sync,
          queue: pos_integer,
          instance: atom,
          config: term,
          policy: policy
        }

  @typedoc "Failures so far, and when the last one was (ms)."
  @type past :: {Ledger.t(), integer | nil}

  @doc "Checks options; raises `ArgumentError` on a bad one."
  @spec new!(term, [pos_integer], term, keyword) :: t
  def new!(id, numbers, fun, opts) do
    where = "Kantoku.Telemetry.attach/4"
    is_function(fun, 4) || raise ArgumentError, "#{where}: expected a function of 4 arguments, got: #{inspect(fun)}"
    checked = Options.validate!(opts, @schema, where)
    is_atom(checked.instance) || raise ArgumentError, "#{where}, option :instance: expected an instance's name or nil"
    given = Map.take(checked, [:mode, :queue, :instance, :config])
    struct!(__MODULE__, Map.merge(given, %{id: id, numbers: numbers, fun: fun, policy: policy(checked)}))
  end

  @doc "Checks the options of `Kantoku.Telemetry.keep_attached/2`."
  @spec policy!(keyword) :: policy
  def policy!(opts), do: opts |> Options.validate!(@policy, "Kantoku.Telemetry.keep_attached/2") |> policy()

  defp policy(checked) do
    checked |> Map.take([:on_failure, :backoff, :budget]) |> Map.merge(%{on_exhausted: :park, unpark: :never})
  end

  @doc "Nothing has failed yet."
  @spec innocent() :: past
  def innocent, do: {nil, nil}

  @doc "Charges a failure at `now` (ms): after how many ms it is attached again, or that it is left out."
  @spec failed(past, integer, policy, Ledger.chance()) :: {non_neg_integer | :leave | :give_up, past}
  def failed({ledger, _last}, now, %{on_failure: :leave}, _chance), do: {:leave, {ledger, now}}

  def failed({ledger, last}, now, policy, chance) do
    case Ledger.charge(ledger, now, if(last, do: now - last, else: 0), policy, chance) do
      {{:start, delay}, ledger} -> {delay, {ledger, now}}
      {{:park, _until}, _ledger} -> {:give_up, innocent()}
    end
  end

  @doc "The options of `Kantoku.Telemetry.attach/4` as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
