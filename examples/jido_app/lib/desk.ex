defmodule Desk do
  @moduledoc """
  A help desk. Customers ask; a pool of searchers finds articles, each customer's conversation knows what was said, and a ledger counts.

  Nothing here knows who cares for the agents: it is Jido's API throughout.
  """

  alias Desk.{Articles, Conversation, Ledger, Search}
  alias Jido.Agent.WorkerPool
  alias Jido.AgentServer

  @doc "A customer asks; the title of an article that answers, which was not given before, or `nil`."
  @spec ask(String.t(), String.t()) :: String.t() | nil
  def ask(customer, question) do
    conversation = ask(Conversation, customer, signal("ask", %{question: question, articles: search(question)}))
    answer = conversation.state.answer
    ask(Ledger, "ledger", signal("count", %{answered: answer != nil}))
    answer
  end

  @doc "What was said with a customer, newest first: `{question, answer}`."
  @spec history(String.t()) :: [{String.t(), String.t() | nil}]
  def history(customer) do
    {:ok, %{agent: agent}} = AgentServer.state(agent(Conversation, customer))
    agent.state.said
  end

  @doc "How many questions were answered, and how many were not."
  @spec counts() :: %{answered: non_neg_integer, open: non_neg_integer}
  def counts do
    {:ok, %{agent: agent}} = AgentServer.state(agent(Ledger, "ledger"))
    Map.take(agent.state, [:answered, :open])
  end

  @doc "The articles for a question, best first."
  @spec search(String.t()) :: [Articles.title()]
  def search(question) do
    {:ok, agent} = WorkerPool.call(Desk.Jido, :search, signal("search", %{question: question}))
    agent.state.found
  end

  @doc "The pools of the app: `{name, agent, how many}`."
  @spec pools() :: [{atom, module, pos_integer}]
  def pools, do: [{:search, Search, 4}]

  defp ask(module, id, signal) do
    {:ok, agent} = AgentServer.call(agent(module, id), signal)
    agent
  end

  # Started by whoever needs it first.
  defp agent(module, id) do
    case Desk.Jido.whereis(id) || Desk.Jido.start_agent(module, id: id) do
      pid when is_pid(pid) -> pid
      {:ok, pid} -> pid
      {:error, {:already_started, pid}} -> pid
    end
  end

  defp signal(type, data), do: Jido.Signal.new!(type, data, source: "/desk")
end
