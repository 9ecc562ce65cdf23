defmodule Kantoku.Api.SearchTest do
  use ExUnit.Case, async: true

  alias Kantoku.Api.Search

  defp wrong(text) do
    assert {:error, {400, :bad_query, "q: expected " <> message}} = Search.parse(text)
    message
  end

  test "says what was expected, and where" do
    for {text, expected} <- [
          {"tag:", "a name or a value, at character 5"},
          {"tag:a|", "a name or a value, at character 7"},
          {"-", "a name or a value, at character 2"},
          {"ada colour:red",
           "one of capability, domain, health, id, node, phase, region, risk, status, tag, type, meta.KEY before a colon, at character 5"},
          {"meta.:x", "one of capability"},
          {~s(tag:"a b), ~s(a closing ", at character 5)},
          {~s("a"b), "a blank, at character 4"},
          {~s(é "ü"b), "a blank, at character 6"},
          {"phase:asleep", "one of starting, up, restarting, parked, stopped after phase:, at character 1"},
          {"x health:fine",
           "one of healthy, degraded, starting, unknown, unhealthy, stuck after health:, at character 3"},
          {"risk:boredom", "one of any, memory, mailbox, latency, restarts after risk:, at character 1"},
          {String.duplicate("x", 1_001), "at most 1000 bytes"}
        ],
        do: assert(wrong(text) =~ expected)
  end

  test "makes no atom of what it reads" do
    # Others make atoms meanwhile: so each word is looked for by itself.
    fresh = fn -> "w#{Base.encode16(:crypto.strong_rand_bytes(8))}" end

    for name <- ~w(tag capability type status node region id domain meta. x), _ <- 1..20 do
      [ending, one, other] = words = for _ <- 1..3, do: fresh.()
      name = if name in ["meta.", "x"], do: name <> ending, else: name
      Search.parse("-#{name}:#{one}|:#{other}")
      refute Enum.any?(words, &atom?/1)
    end

    # Which would be found.
    assert atom?(Atom.to_string(String.to_atom(fresh.())))
  end

  defp atom?(word) do
    is_atom(String.to_existing_atom(word))
  rescue
    ArgumentError -> false
  end

  test "reads any text, or refuses it" do
    :rand.seed(:exsss, {1, 2, 3})

    words = [
      "tag:",
      "-",
      "\"",
      "|",
      ":",
      " ",
      "meta.",
      "é",
      "a",
      "phase:up",
      "health:stuck",
      "risk:any",
      "type:",
      "\\",
      "\0",
      "nil",
      "7",
      "Elixir.",
      "\u{1F600}"
    ]

    for _ <- 1..5_000 do
      text = for _ <- 1..:rand.uniform(8), into: "", do: Enum.random(words)
      assert match?({:ok, %Search{}}, Search.parse(text)) or match?({:error, {400, :bad_query, _}}, Search.parse(text))
    end
  end
end
