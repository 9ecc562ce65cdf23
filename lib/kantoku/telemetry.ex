defmodule Kantoku.Telemetry do
  @moduledoc """
  The events of Kantoku: one catalogue, sent to `:telemetry` when it is there and to every subscriber.

  Three ways to listen. A subscription (`subscribe/2`) is a bounded stream of messages to the process that asked for it: it can
  never slow the emitter down, and it counts what it had to drop. A handler (`attach/4`) is a function that is run in a process of
  its own, behind a bounded queue, and is attached again when it failed; `:telemetry` need not be there. A handler of `:telemetry`'s
  runs in the process that emits: right for counting, wrong for whatever may fail or wait. One that fails is detached by
  `:telemetry`; that is noticed and told of (`[:kantoku, :handler, :failed]`), and where `keep_attached/2` was asked for, mended.

      iex> {:ok, ref} = Kantoku.Telemetry.subscribe(MyApp.Agents, events: [[:agent, :restarting], [:agent, :parked]])
      iex> Kantoku.Telemetry.emit(MyApp.Agents, [:agent, :restarting], %{delay: 200, crashes: 2}, %{id: "a"})
      iex> receive do
      ...>   {:kantoku_event, ^ref, [:kantoku, :agent, :restarting], %{delay: delay}, %{id: id}} ->
      ...>     Kantoku.Telemetry.ack(ref)
      ...>     {id, delay}
      ...> end
      {"a", 200}

  At most `buffer` events are on their way to a subscriber; each `ack/2` (`take/3` and `stream/2` do it themselves) makes room for
  more. An emitter to whom nobody listens pays for two reads of memory that all schedulers share.

  Every event's metadata has `instance`; `nil` for what is of none, as handlers are that hear of all. `id` is the agent's, `reason` is why.

  ## Catalogue

  #{Kantoku.Telemetry.Catalogue.table()}
  """

  alias Kantoku.Metrics.Events

  alias Kantoku.Telemetry.{
    Attachment,
    Catalogue,
    Definitions,
    Detached,
    Handler,
    Handlers,
    Registrar,
    Subscription,
    Switchboard
  }

  @default_buffer 1_000

  @typedoc "Without the leading `:kantoku`, as `[:agent, :crashed]`."
  @type name :: [atom, ...]

  @typedoc "Names a subscription. Good on the node that made it."
  @opaque subscription :: Subscription.t()

  @typedoc "What a subscriber receives; the name starts with `:kantoku`."
  @type message :: {:kantoku_event, subscription, name, measurements :: map, metadata :: map}

  @doc """
  Hands an event to all who listen. Never waits and never fails for a listener's sake.

  A name that the catalogue does not have is a mistake in the emitting code: `ArgumentError`, whether anyone listens or not.
  """
  @spec emit(instance :: atom, name, measurements :: map, metadata :: map) :: :ok
  def emit(instance, name, measurements, metadata) do
    number = number!(name)
    Events.count(instance, name, measurements, metadata)
    if Switchboard.listening?(number), do: Switchboard.dispatch(instance, number, name, measurements, metadata)
    :ok
  end

  @doc false
  # That options were changed, if they were: which ones, not to what, as that may be a secret.
  @spec options_changed(:ok | {:error, term}, atom, of :: term, keyword) :: :ok | {:error, term}
  def options_changed(:ok, instance, of, changes),
    do: emit(instance, [:options, :changed], %{}, %{of: of, names: Keyword.keys(changes)})

  def options_changed(error, _instance, _of, _changes), do: error

  @doc """
  Whether anyone may listen to an event: asked before something costly is gathered for one. With `:telemetry` loaded this is
  always so, and of events that `Kantoku.Metrics` counts.
  """
  @spec listening?(name) :: boolean
  def listening?(name), do: Events.counted?(name) or name |> number!() |> Switchboard.listening?()

  defp number!(name) do
    Catalogue.number(name) ||
      raise ArgumentError, "expected the name of an event of Kantoku.Telemetry.events/0, got: #{inspect(name)}"
  end

  @doc "The catalogue: names (without `:kantoku`), measurements with units, metadata, documentation."
  @spec events() :: [
          %{name: name, doc: String.t(), measurements: [{atom, atom}], metadata: [atom]}
        ]
  def events, do: Catalogue.all()

  @doc """
  Definitions of all events for reporters of [Telemetry.Metrics](https://hexdocs.pm/telemetry_metrics): a counter of each, and a summary of
  each duration (in ms) and size. Tags are `instance` and what has few values, so no ids and no reasons. `[]` where that library, or `:telemetry`, is not
  there.

      {TelemetryMetricsPrometheus, metrics: Kantoku.Telemetry.metrics()}
  """
  @spec metrics() :: [struct]
  def metrics, do: Definitions.all()

  @doc """
  Subscribes the calling process to an instance's events, until it unsubscribes or dies. The instance need not run (yet); `nil` are
  all instances, and what is of none.

    * `:events` - names or prefixes of names, with or without the leading `:kantoku`; all by default. `[[:agent]]` are all
      events of agents;
    * `:buffer` - how many events may be on their way (default #{@default_buffer}); one more is dropped and counted.

  Each event is a `t:message/0`.
  """
  @spec subscribe(instance :: atom, keyword) :: {:ok, subscription}
  def subscribe(instance, opts \\ []) when is_atom(instance) do
    opts = Keyword.validate!(opts, events: [[]], buffer: @default_buffer)
    {:ok, Registrar.subscribe(instance, all_numbers!(opts[:events]), buffer!(opts[:buffer]))}
  end

  defp all_numbers!(events), do: events |> list!() |> Enum.flat_map(&numbers!/1) |> Enum.uniq()

  defp list!(events) when is_list(events) and events != [], do: events

  defp list!(events) do
    raise ArgumentError, "option :events expects a list of event names or prefixes, got: #{inspect(events)}"
  end

  defp numbers!([:kantoku | prefix]), do: numbers!(prefix)

  defp numbers!(prefix) when is_list(prefix) do
    case Catalogue.numbers(prefix) do
      [] -> raise ArgumentError, "option :events has a name or prefix that no event has: #{inspect(prefix)}"
      numbers -> numbers
    end
  end

  defp numbers!(other), do: list!(other)

  defp buffer!(buffer) when is_integer(buffer) and buffer > 0, do: buffer

  defp buffer!(buffer) do
    raise ArgumentError, "option :buffer expects a positive integer, got: #{inspect(buffer)}"
  end

  @doc "Ends a subscription and removes its messages from the caller's mailbox."
  @spec unsubscribe(subscription) :: :ok
  def unsubscribe(ref) do
    Registrar.unsubscribe(ref)
    flush(ref)
  end

  defp flush(ref) do
    receive do
      {:kantoku_event, ^ref, _name, _measurements, _metadata} -> flush(ref)
    after
      0 -> :ok
    end
  end

  @doc "Makes room for `count` more events, having received as many."
  @spec ack(subscription, count :: non_neg_integer) :: :ok
  def ack(ref, count \\ 1), do: Subscription.give_back(ref, count)

  @doc """
  How many events this subscription had no room for, from its start.

      iex> {:ok, ref} = Kantoku.Telemetry.subscribe(:dropping, buffer: 1)
      iex> for id <- 1..3, do: Kantoku.Telemetry.emit(:dropping, [:agent, :stopped], %{}, %{id: id})
      iex> Kantoku.Telemetry.dropped(ref)
      2
  """
  @spec dropped(subscription) :: non_neg_integer
  def dropped(ref), do: Subscription.dropped(ref)

  @doc "How many events are on their way or not yet acknowledged."
  @spec outstanding(subscription) :: non_neg_integer
  def outstanding(ref), do: Subscription.outstanding(ref)

  @doc """
  Takes up to `count` events out of the caller's mailbox and acknowledges them. Waits up to `timeout` ms for the first one only;
  `[]` if none came.
  """
  @spec take(subscription, count :: pos_integer, timeout) :: [message]
  def take(ref, count, timeout \\ 0)
  def take(_ref, 0, _timeout), do: []

  def take(ref, count, timeout) do
    receive do
      {:kantoku_event, ^ref, _name, _measurements, _metadata} = message ->
        ack(ref)
        [message | take(ref, count - 1, 0)]
    after
      timeout -> []
    end
  end

  @doc """
  The events as a lazy enumerable, for the process that subscribed. Ends when none has come for `idle` ms (default: never).

      Kantoku.Telemetry.stream(ref) |> Stream.filter(&match?({_, _, [_, :agent, :parked], _, _}, &1)) |> Enum.take(3)
  """
  @spec stream(subscription, idle :: timeout) :: Enumerable.t()
  def stream(ref, idle \\ :infinity) do
    Stream.repeatedly(fn -> take(ref, 1, idle) end) |> Stream.take_while(&(&1 != [])) |> Stream.concat()
  end

  # Handlers -----------------------------------------------------------------------------------------------------------------

  @doc """
  Attaches a handler: `fun` is called with each event's name (with the leading `:kantoku`), measurements, metadata and the option
  `:config`, as `:telemetry`'s handlers are. `events` are as in `subscribe/2`; `id`, any term, names it on this node.

  By default it runs in a process of its own, one event after the other, so that nothing it does is felt by who emits. When it raises, exits or
  throws, it is out: the event is not tried again, later ones wait in its queue (`mode: :sync`: are dropped), and after a back-off it is
  attached again. Each failure is an event (`[:handler, :failed]`), and once a minute at most a line in the log. Without `:telemetry` it
  works alike.

      iex> test = self()
      iex> Kantoku.Telemetry.attach("parked", [[:agent, :parked]], fn _name, _measurements, %{id: id}, _config -> send(test, {:parked, id}) end)
      :ok
      iex> Kantoku.Telemetry.emit(:handling, [:agent, :parked], %{crashes: 3, retry_in: :never}, %{id: "a"})
      iex> receive do: ({:parked, id} -> id)
      "a"
      iex> Kantoku.Telemetry.detach("parked")
      :ok

  Options:

  #{Attachment.docs()}

  The defaults of back-off and budget are those of a domain's agents (`Kantoku.Domain`), in times that suit a log or a collector that is gone.
  `{:error, :already_exists}` if that id is attached. A bad argument is an `ArgumentError`.
  """
  @spec attach(id :: term, events :: [name | [atom]], Handler.fun(), keyword) :: :ok | {:error, :already_exists}
  def attach(id, events, fun, opts \\ []),
    do: id |> Attachment.new!(all_numbers!(events), fun, opts) |> Handlers.attach()

  @doc "Detaches a handler of `attach/4`. What waits for it is lost, and one that hangs is ended in the middle of it."
  @spec detach(id :: term) :: :ok | {:error, :not_found}
  def detach(id), do: Handlers.detach(id)

  @doc "Attaches a handler of `attach/4` again that was left out, or is still waiting for it. One that is attached stays so."
  @spec reattach(id :: term) :: :ok | {:error, :not_found}
  def reattach(id) do
    case Handlers.whereis(id) do
      nil -> {:error, :not_found}
      pid -> Handler.reattach(pid)
    end
  end

  @doc """
  The handlers of `attach/4`, and with `mode: :telemetry` those that are kept.

  `status` is `:attached`, `:waiting` for its back-off, `:left` out as `on_failure: :leave` says, or `:given_up` as its budget is used
  up. Of ours also how many events were `handled`, `failed` at, `dropped`, and are `waiting`.
  """
  @spec handlers() :: [
          %{
            required(:id) => term,
            required(:mode) => :async | :sync | :telemetry,
            required(:instance) => atom,
            required(:status) => :attached | :waiting | :left | :given_up,
            required(:failed) => non_neg_integer,
            optional(:handled) => non_neg_integer,
            optional(:dropped) => non_neg_integer,
            optional(:waiting) => non_neg_integer
          }
        ]
  def handlers, do: Handlers.list()

  @doc """
  Attaches a handler of `:telemetry` again whenever it failed and `:telemetry` detached it, or when `:telemetry` itself was started anew. It
  has to be attached when this is called, to whatever events; the options are `on_failure`, `backoff` and `budget` of `attach/4`.

      :ok = :telemetry.attach("my-handler", [:kantoku, :agent, :crashed], &MyApp.Counters.handle/4, nil)
      :ok = Kantoku.Telemetry.keep_attached("my-handler")

  Whoever detaches it by hand ends that with `let_go/1`, before or after. `{:error, :not_found}` if there is no such handler, or no `:telemetry`.
  """
  @spec keep_attached(handler_id :: term, keyword) :: :ok | {:error, :not_found}
  def keep_attached(handler_id, opts \\ []), do: Detached.keep(handler_id, Attachment.policy!(opts))

  @doc "Ends what `keep_attached/2` began. The handler stays as it is."
  @spec let_go(handler_id :: term) :: :ok
  def let_go(handler_id), do: Detached.release(handler_id)
end
