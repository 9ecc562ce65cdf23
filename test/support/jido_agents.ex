if Code.ensure_loaded?(Jido.Agent) do
  defmodule Kantoku.JidoAgents do
    @moduledoc "Agents and actions of Jido's for tests, written as users of Jido write them."

    defmodule Add do
      @moduledoc false
      use Jido.Action, name: "add", schema: [by: [type: :integer, default: 1]]
      @impl true
      def run(%{by: by}, context), do: {:ok, %{total: context.state.total + by}}
    end

    defmodule Wait do
      @moduledoc false
      # Tells who it is and who runs it, and goes on when it is told to.
      use Jido.Action, name: "wait", schema: [tell: [type: :any, required: true]]
      @impl true
      def run(%{tell: tell}, context) do
        send(tell, {:waiting, self(), Process.get(:"$callers")})

        receive do
          :go_on -> {:ok, %{total: context.state.total + 1}}
        end
      end
    end

    defmodule Fail do
      @moduledoc false
      use Jido.Action, name: "fail", schema: []
      @impl true
      def run(_params, _context), do: {:error, "as asked"}
    end

    defmodule Counter do
      @moduledoc false
      use Jido.Agent,
        name: "counter",
        description: "Counts.",
        category: "test",
        tags: ["counting"],
        vsn: "1.0.0",
        schema: [total: [type: :integer, default: 0]],
        signal_routes: [
          {"add", Kantoku.JidoAgents.Add},
          {"wait", Kantoku.JidoAgents.Wait},
          {"fail", Kantoku.JidoAgents.Fail}
        ]
    end

    defmodule Keeper do
      @moduledoc "An agent with a form of its own for what is kept."
      use Jido.Agent,
        name: "keeper",
        schema: [total: [type: :integer, default: 0], cache: [type: :any, default: nil]],
        signal_routes: [{"add", Kantoku.JidoAgents.Add}]

      @impl true
      def checkpoint(agent, _context),
        do: {:ok, %{version: 7, agent_module: __MODULE__, id: agent.id, state: %{sum: agent.state.total}}}

      @impl true
      def restore(%{version: 7} = checkpoint, _context),
        do: {:ok, new(id: checkpoint.id, state: %{total: checkpoint.state.sum, cache: :restored})}
    end

    @doc "A signal."
    def signal(type, data \\ %{}), do: Jido.Signal.new!(type, data, source: "/test")
  end
end
