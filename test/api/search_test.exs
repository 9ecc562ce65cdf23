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
           "one of capability, domain, id, node, phase, region, status, tag, type, meta.KEY before a colon, at character 5"},
          {"meta.:x", "one of capability"},
          {~s(tag:"a b), ~s(a closing ", at character 5)},
          {~s("a"b), "a blank, at character 4"},
          {~s(é "ü"b), "a blank, at character 6"},
          {"phase:asleep", "one of starting, up, restarting, parked, stopped after phase:, at character 1"},
          {String.duplicate("x", 1_001), "at most 1000 bytes"}
        ],
        do: assert(wrong(text) =~ expected)
  end

  test "makes no atom of what it reads" do
    for number <- 1..200,
        name <- ~w(tag capability type status node region meta.key id domain),
        do: Search.parse("#{name}:unheard_#{number}")

    before = :erlang.system_info(:atom_count)

    for number <- 1..200,
        name <- ~w(tag capability type status node region meta.unheard_of id domain unheard_of),
        do: Search.parse("-#{name}:unheard_of_#{number}|:so_#{number}")

    # Somebody else may make one meanwhile; this would make thousands.
    assert :erlang.system_info(:atom_count) - before < 1_000
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
