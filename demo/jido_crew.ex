if Code.ensure_loaded?(Jido.Agent) do
  defmodule Demo.JidoCrew do
    # Agents as users of Jido write them, in Kantoku's pools: each kind is a module of actions, and nothing in it knows of Kantoku. What
    # an action finds is in the agent's state, and the caller is answered with the agent.
    @moduledoc false
    @behaviour Demo.Crew

    alias Demo.{Decode, Gauges, Indexer, Patience, Tally}
    alias Kantoku.{Error, Pool}

    @call 60_000

    defmodule Read do
      @moduledoc false
      use Jido.Action, name: "read", schema: [path: [type: :string, required: true]]

      @impl true
      def run(%{path: path}, _context), do: {:ok, %{found: Decode.file(path)}}
    end

    defmodule Extract do
      @moduledoc false
      use Jido.Action, name: "extract", schema: [text: [type: :string, required: true]]

      @impl true
      def run(%{text: text}, _context), do: {:ok, %{tally: Tally.of(text)}}
    end

    defmodule Merge do
      @moduledoc false
      use Jido.Action,
        name: "merge",
        schema: [
          key: [type: :any, required: true],
          floor: [type: :pos_integer, required: true],
          tally: [type: :any, required: true]
        ]

      @impl true
      def run(%{key: key, floor: floor, tally: tally}, %{state: %{index: index}}) do
        {index, [{:reply, answer}]} = Indexer.cmd(index, {:merge, key, floor, tally})
        {:ok, %{index: index, answer: answer}}
      end
    end

    defmodule JidoReader do
      @moduledoc false
      use Jido.Agent,
        name: "reader",
        schema: [found: [type: :any, default: nil]],
        signal_routes: [{"read", Demo.JidoCrew.Read}]
    end

    defmodule JidoExtractor do
      @moduledoc false
      use Jido.Agent,
        name: "extractor",
        schema: [tally: [type: :any, default: nil]],
        signal_routes: [{"extract", Demo.JidoCrew.Extract}]
    end

    defmodule JidoIndexer do
      @moduledoc false
      use Jido.Agent,
        name: "indexer",
        schema: [index: [type: :any, default: %Demo.Indexer{}], answer: [type: :atom, default: nil]],
        signal_routes: [{"merge", Demo.JidoCrew.Merge}]
    end

    @impl true
    def open(instance) do
      {:ok, _started} = Application.ensure_all_started(:jido)
      {:ok, _supervisor} = Jido.start_link(name: jido(instance))
      :ok
    end

    @impl true
    def close(instance), do: Supervisor.stop(jido(instance), :normal, :infinity)

    # What a reader or an extractor has found is of use to nobody but who asked for it.
    @impl true
    def worker(instance, :read), do: [spec: agent(instance, JidoReader), store: nil]
    def worker(instance, :extract), do: [spec: agent(instance, JidoExtractor), store: nil]
    def worker(instance, :index), do: [spec: agent(instance, JidoIndexer)]

    defp agent(instance, module), do: {Kantoku.Jido, module, jido: jido(instance)}

    defp jido(instance), do: Module.concat(instance, Jido)

    @impl true
    def read(instance, path) do
      asked = Pool.call({instance, :read}, {:signal, signal("read", %{path: path})}, timeout: @call)
      with {:ok, agent} <- answer(asked), do: {:ok, agent.state.found}
    end

    @impl true
    def tally(instance, indexer) do
      with {:ok, %{agent: agent}} <- answer(Kantoku.call(instance, indexer, :get_state, @call)),
           do: {:ok, agent.state.index.tally}
    end

    @impl true
    def merge(instance, extractor, errand, text, held_up) do
      case ask(instance, extractor, signal("extract", %{text: text})) do
        {:ok, agent} -> bring(instance, errand, agent.state.tally, held_up)
        {:error, error} -> {:again, error}
      end
    end

    # The shard is this part's for good (E4): one that is away is waited for.
    defp bring(instance, %{key: key, indexer: indexer} = errand, tally, held_up) do
      case ask(instance, indexer, signal("merge", %{key: key, floor: Gauges.get(instance, :floor), tally: tally})) do
        {:ok, agent} ->
          if agent.state.answer == :refused, do: Gauges.add(instance, :refused)
          :merged

        {:error, error} ->
          held_up.()
          Patience.rest(error)
          bring(instance, errand, tally, held_up)
      end
    end

    defp ask(instance, id, signal), do: answer(Kantoku.call(instance, id, signal, @call))

    # What Jido answers is inside of what Kantoku does.
    defp answer({:ok, {:ok, agent}}), do: {:ok, agent}
    defp answer({:ok, {:error, %Error{} = error}}), do: {:error, error}
    defp answer({:error, error}), do: {:error, error}

    defp signal(type, data), do: Jido.Signal.new!(type, data, source: "/demo")
  end
end
