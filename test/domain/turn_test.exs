defmodule Kantoku.Domain.TurnTest do
  use ExUnit.Case, async: true

  alias Kantoku.Domain.{Book, Turn}

  test "one at a time, each with its own answer" do
    book = Book.new_table()
    counter = :counters.new(1, [])

    take = fn n ->
      Turn.take(book, {:a, 1}, fn ->
        seen = :counters.get(counter, 1)
        Process.sleep(1)
        :counters.put(counter, 1, seen + 1)
        n
      end)
    end

    tasks = for n <- 1..20, do: Task.async(fn -> take.(n) end)
    assert Enum.map(tasks, &Task.await/1) == Enum.to_list(1..20)
    assert :counters.get(counter, 1) == 20
  end

  test "a turn ends with what is raised in it, and with its holder" do
    book = Book.new_table()
    assert_raise RuntimeError, fn -> Turn.take(book, :a, fn -> raise "in turn" end) end
    assert Turn.try_take(book, :a, fn -> :mine end) == :mine

    test = self()
    holder = spawn(fn -> Turn.take(book, :a, fn -> send(test, :taken) && Process.sleep(:infinity) end) end)
    assert_receive :taken
    assert Turn.try_take(book, :a, fn -> :mine end) == :busy
    assert Turn.try_take(book, :b, fn -> :another end) == :another
    Kantoku.TestOwner.kill(holder)
    assert Turn.try_take(book, :a, fn -> :mine end) == :mine
  end
end
