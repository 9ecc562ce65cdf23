defmodule DeskTest do
  # The same with Jido alone (CARE=jido) and with Kantoku (CARE=kantoku), but for the two tests at the end.
  use ExUnit.Case

  alias Desk.{Conversation, Ledger, Search}

  defp customer(%{test: test}), do: "#{test} #{System.unique_integer([:positive])}"

  test "a question is answered by the article that fits, and no article is given twice", context do
    customer = customer(context)
    assert Desk.ask(customer, "Where is my invoice?") == "Where your invoices are"
    assert Desk.ask(customer, "But where is my invoice?") == "How to send something back"
    assert Desk.ask(customer, "My invoice!") == nil

    assert Desk.history(customer) == [
             {"My invoice!", nil},
             {"But where is my invoice?", "How to send something back"},
             {"Where is my invoice?", "Where your invoices are"}
           ]
  end

  test "customers do not hear of each other", context do
    [one, other] = for _ <- 1..2, do: customer(context)
    assert Desk.ask(one, "password") == Desk.ask(other, "password")
    assert length(Desk.history(one)) == 1
  end

  test "the ledger counts what was answered and what was not", context do
    before = Desk.counts()
    customer = customer(context)
    for question <- ["password", "password", "nothing of this"], do: Desk.ask(customer, question)
    assert Desk.counts() == %{answered: before.answered + 1, open: before.open + 2}
  end

  test "many who ask at once are all answered", context do
    questions = ["When does the parcel come?", "password", "invoice"]
    customers = for n <- 1..30, do: {"#{customer(context)} #{n}", Enum.at(questions, rem(n, 3))}

    answers =
      customers
      |> Task.async_stream(fn {customer, question} -> {question, Desk.ask(customer, question)} end, max_concurrency: 30)
      |> Enum.map(fn {:ok, answer} -> answer end)

    assert answers |> Enum.uniq() |> length() == 3
    assert Enum.all?(answers, fn {_question, answer} -> answer != nil end)
  end

  test "an agent is data, and as data it comes to the same as its process", context do
    customer = customer(context)
    asked = [{"Where is my invoice?", Desk.search("Where is my invoice?")}, {"password", Desk.search("password")}]

    by_hand =
      Enum.reduce(asked, Conversation.new(), fn {question, articles}, agent ->
        {agent, []} = Conversation.cmd(agent, {Conversation.Ask, %{question: question, articles: articles}})
        agent
      end)

    for {question, _articles} <- asked, do: Desk.ask(customer, question)
    assert Desk.history(customer) == by_hand.state.said
    assert {%{state: %{answered: 1, open: 0}}, []} = Ledger.cmd(Ledger.new(), {Ledger.Count, %{answered: true}})
    assert {%{state: %{found: [_ | _]}}, []} = Search.cmd(Search.new(), {Search.Run, %{question: "password"}})
  end

  @tag :before_the_move
  test "before the move a crash takes the conversation along", context do
    customer = customer(context)
    Desk.ask(customer, "password")
    crash(customer)
    assert Desk.history(customer) == []
  end

  @tag :after_the_move
  test "after the move a conversation outlives crashes, and moves back and over again", context do
    customer = customer(context)
    Desk.ask(customer, "password")
    crash(customer)
    assert [{"password", _answer}] = history = Desk.history(customer)

    for mode <- [:off, {:canary, 50}, :enforce] do
      :ok = Kantoku.Migration.set(Desk.Agents, :supervision, Conversation, mode, by: "test")
      :ok = Kantoku.Migration.await(Desk.Agents, Conversation)
      assert Desk.history(customer) == history
    end
  end

  defp crash(customer) do
    pid = Desk.Jido.whereis(customer)
    Process.exit(pid, :kill)
    back(customer, pid)
  end

  defp back(customer, dead) do
    case Desk.Jido.whereis(customer) do
      pid when pid in [nil, dead] -> Process.sleep(5) && back(customer, dead)
      pid -> pid
    end
  end
end
