defmodule Desk.Search do
  @moduledoc "Finds articles. One of a pool; keeps nothing of a question."

  defmodule Run do
    @moduledoc false
    use Jido.Action, name: "search", description: "Finds articles", schema: [question: [type: :string, required: true]]

    @impl true
    def run(%{question: question}, _context), do: {:ok, %{found: Desk.Articles.for_question(question)}}
  end

  use Jido.Agent,
    name: "search",
    category: "desk",
    tags: ["stateless"],
    schema: [found: [type: {:list, :string}, default: []]],
    signal_routes: [{"search", Desk.Search.Run}]
end
