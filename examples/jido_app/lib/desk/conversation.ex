defmodule Desk.Conversation do
  @moduledoc "What was said with one customer, newest first. Gives no article twice."

  defmodule Ask do
    @moduledoc false
    use Jido.Action,
      name: "ask",
      description: "Answers a customer",
      schema: [question: [type: :string, required: true], articles: [type: {:list, :string}, default: []]]

    @impl true
    def run(%{question: question, articles: articles}, %{state: %{said: said}}) do
      answer = Enum.find(articles, fn article -> Enum.all?(said, fn {_question, given} -> given != article end) end)
      {:ok, %{said: [{question, answer} | said], answer: answer}}
    end
  end

  use Jido.Agent,
    name: "conversation",
    category: "desk",
    tags: ["customers"],
    schema: [said: [type: {:list, :any}, default: []], answer: [type: {:or, [:string, nil]}, default: nil]],
    signal_routes: [{"ask", Desk.Conversation.Ask}]
end
