defmodule Kantoku.Tracing do
  @moduledoc """
  Agents that call each other and a pool, and the spans of it, as tests look at them.
  """

  alias Kantoku.{TestOwner, Trace}

  defmodule Relay do
    @moduledoc false
    # Does what the action says: calls on, waits for a message, or fails.
    use Kantoku.Agent

    @impl true
    def new(_args), do: %{}

    @impl true
    def cmd(state, {:call, instance, id, action}), do: {state, [{:reply, Kantoku.call(instance, id, action)}]}
    def cmd(state, {:pool, pool, action}), do: {state, [{:reply, Kantoku.Pool.call(pool, action)}]}
    def cmd(state, {:run, fun}), do: {state, [{:reply, fun.()}]}
    def cmd(state, {:hold, test}), do: {state, [{:reply, hold(test)}]}
    def cmd(_state, :crash), do: raise("crashed as asked")
    def cmd(state, what), do: {state, [{:reply, what}]}

    defp hold(test) do
      send(test, {:held, self()})
      receive do: (:go_on -> :went_on)
    end
  end

  defmodule Plain do
    @moduledoc false
    # A process that knows nothing of traces, and says what it saw.
    use GenServer

    def start_link(opts), do: GenServer.start_link(__MODULE__, opts)

    @impl true
    def init(opts), do: {:ok, opts}

    @impl true
    def handle_call({:run, fun}, _from, opts), do: {:reply, fun.(), opts}
    def handle_call(:carried, from, opts), do: {:reply, Kantoku.Trace.carried(from), opts}
    def handle_call(:where, _from, opts), do: {:reply, Kantoku.Trace.context(), opts}
    def handle_call(request, _from, opts), do: {:reply, request, opts}

    @impl true
    def handle_cast({:tell, pid} = request, opts) do
      send(pid, {:cast, request, Kantoku.Trace.context()})
      {:noreply, opts}
    end
  end

  defmodule Errand do
    @moduledoc false
    # Calls another agent for a directive, and may have a further one made of that.
    use Kantoku.Agent

    @impl true
    def new(_args), do: 0

    @impl true
    def cmd(done, {:do, nil}), do: {done + 1, []}
    def cmd(done, {:do, directive}), do: {done + 1, [directive]}

    @impl true
    def handle_directive({:call, instance, id, action, further}, _id, _context) do
      {:ok, _} = Kantoku.call(instance, id, action)
      {:ok, {:do, further}}
    end

    def handle_directive({:where, test}, _id, _context) do
      send(test, {:where, Kantoku.Trace.context(), Logger.metadata()})
      :ok
    end
  end

  defmodule Tell do
    @moduledoc false
    # A handler of the Logger's that hands on what it is given.
    def log(event, %{config: tell}), do: tell.(event, [])
  end

  @doc "Waits until so many spans are finished; all of them, by the order in which they began."
  def spans(instance, count) do
    TestOwner.eventually(fn ->
      with {:ok, %{held: held}} <- Trace.status(instance), do: held >= count
    end)

    instance |> Trace.take() |> Enum.sort_by(& &1.started_at)
  end

  @doc "The span of that name, or of an agent of that id, and of that kind, of which there is one."
  def span(spans, name, kind) do
    [span] = Enum.filter(spans, &(name in [&1.name, &1.attributes["kantoku.agent"]] and &1.kind == kind))
    span
  end

  @doc "Whether one span is right below another."
  def below?(span, parent), do: span.parent_id == parent.span_id and span.trace_id == parent.trace_id
end
