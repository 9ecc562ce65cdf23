import Kantoku.EachEngine

each_engine Kantoku.EngineTracesTest do
  import Kantoku.TestOwner, only: [eventually: 1]
  alias Kantoku.Engine
  alias Kantoku.Engine.Traces

  setup do
    instance = :"traces_#{@engine}_#{System.unique_integer([:positive])}"
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    on_exit(fn -> Engine.close(instance) end)
    {:ok, instance: instance}
  end

  defp span(number, text \\ "") do
    attributes = [{"text", text}, {"integer", -number}, {"float", 0.5}, {"true", true}, {"false", false}]
    event = {1_700_000_000_000_000_001, "event", [{"a", 1}]}
    link = {{1, 0xFFFFFFFFFFFFFFFF}, 7, 1, "a=1"}

    {{0xFFFFFFFFFFFFFFFF, number}, 0xFFFFFFFFFFFFFFFF, 0, 1, "vendor=é", "name", 3, 1_700_000_000_000_000_000,
     1_700_000_000_000_000_123, 2, attributes, [event], [link], {4, 5, 6}}
  end

  test "what is handed in is taken as it was, once, in order", %{instance: instance} do
    :ok = Traces.trace_open(instance, 100, 1_000_000)
    for number <- 1..70, do: assert(Traces.trace_put(instance, span(number)) == :ok)
    assert Traces.trace_take(instance, 2) == [span(1), span(2)]
    rest = Stream.repeatedly(fn -> Traces.trace_take(instance, 1_000) end) |> Enum.take_while(&(&1 != []))
    assert Enum.all?(rest, &(length(&1) <= 64))
    assert Enum.concat(rest) == Enum.map(3..70, &span/1)
    assert Traces.trace_counts(instance) == %{held: 0, bytes: 0, kept: 70, dropped: 0, taken: 70}
  end

  test "no more is held than so many spans, and each beyond is counted", %{instance: instance} do
    :ok = Traces.trace_open(instance, 3, 1_000_000)
    answers = for number <- 1..10, do: Traces.trace_put(instance, span(number))
    assert answers == List.duplicate(:ok, 3) ++ List.duplicate(:dropped, 7)
    assert %{held: 3, kept: 3, dropped: 7} = Traces.trace_counts(instance)
    assert Traces.trace_take(instance, 1) == [span(1)]
    assert Traces.trace_put(instance, span(11)) == :ok
    assert Traces.trace_put(instance, span(12)) == :dropped
    assert Traces.trace_take(instance, 9) == [span(2), span(3), span(11)]
  end

  test "nor more than so many bytes", %{instance: instance} do
    :ok = Traces.trace_open(instance, 1_000, 50_000)
    text = String.duplicate("x", 4_000)
    answers = for number <- 1..20, do: Traces.trace_put(instance, span(number, text))
    kept = Enum.count(answers, &(&1 == :ok))
    assert kept in 8..12
    assert %{held: ^kept, bytes: bytes, kept: ^kept, dropped: dropped} = Traces.trace_counts(instance)
    assert bytes <= 50_000 and bytes > kept * 4_000 and dropped == 20 - kept
    # What is small still fits.
    assert Traces.trace_put(instance, span(21)) in [:ok, :dropped]
    assert Traces.trace_put(instance, span(22, String.duplicate("x", 60_000))) == :dropped
    Traces.trace_take(instance, 64)
    assert %{held: 0, bytes: 0} = Traces.trace_counts(instance)
  end

  test "many hand in while some take: none is lost, doubled or uncounted", %{instance: instance} do
    :ok = Traces.trace_open(instance, 50, 1_000_000)

    writers =
      for w <- 1..8, do: Task.async(fn -> for n <- 1..500, do: Traces.trace_put(instance, span(w * 1_000 + n)) end)

    takers = for _ <- 1..2, do: Task.async(fn -> taken_until_quiet(instance, writers, []) end)
    answers = writers |> Task.await_many(60_000) |> Enum.concat()
    for taker <- takers, do: send(taker.pid, :done)
    taken = takers |> Task.await_many(60_000) |> Enum.concat()
    numbers = for {{_upper, number}, _, _, _, _, _, _, _, _, _, _, _, _, _} <- taken, do: number
    kept = Enum.count(answers, &(&1 == :ok))
    assert length(numbers) == kept and length(Enum.uniq(numbers)) == kept
    dropped = 4_000 - kept
    assert Traces.trace_counts(instance) == %{held: 0, bytes: 0, kept: kept, dropped: dropped, taken: kept}
  end

  defp taken_until_quiet(instance, writers, taken) do
    case Traces.trace_take(instance, 7) do
      [] ->
        receive do
          :done -> taken ++ Traces.trace_take(instance, 64)
        after
          0 -> taken_until_quiet(instance, writers, taken)
        end

      spans ->
        taken_until_quiet(instance, writers, spans ++ taken)
    end
  end

  test "nothing is kept before it is opened, and what was kept is lost when it is opened with other limits", %{
    instance: instance
  } do
    assert Traces.trace_put(instance, span(1)) == :closed
    assert Traces.trace_take(instance, 5) == []
    assert %{kept: 0} = Traces.trace_counts(instance)
    :ok = Traces.trace_open(instance, 5, 10_000)
    :ok = Traces.trace_put(instance, span(1))
    :ok = Traces.trace_open(instance, 5, 10_000)
    assert %{held: 1, kept: 1} = Traces.trace_counts(instance)
    :ok = Traces.trace_open(instance, 4, 10_000)
    assert Traces.trace_take(instance, 5) == []
    assert %{kept: 0, dropped: 0, bytes: 0} = Traces.trace_counts(instance)
  end

  test "an instance that is closed keeps nothing, and its successor knows nothing of it", %{instance: instance} do
    :ok = Traces.trace_open(instance, 5, 10_000)
    :ok = Traces.trace_put(instance, span(1))
    Engine.close(instance)
    assert Traces.trace_put(instance, span(2)) == :unknown
    assert Traces.trace_take(instance, 1) == :unknown
    assert Traces.trace_counts(instance) == :unknown
    :ok = Engine.open(instance, :unique, 1, [], @engine)
    assert Traces.trace_put(instance, span(3)) == :closed
    assert Traces.trace_take(instance, 1) == []
  end

  if Kantoku.Native.loaded?() do
    test "what native threads are to take is kept natively, by the same rules, until its instance ends", %{
      instance: instance
    } do
      :ok = Traces.trace_open(instance, 3, 1_000_000)
      for _ <- 1..2, do: assert(Traces.trace_share(instance) == :ok)
      answers = for number <- 1..10, do: Traces.trace_put(instance, span(number))
      assert answers == List.duplicate(:ok, 3) ++ List.duplicate(:dropped, 7)
      assert Kantoku.Native.trace_counts(instance) == Traces.trace_counts(instance)
      assert %{held: 3, kept: 3, dropped: 7} = Traces.trace_counts(instance)
      # As after the death of who has it open.
      :ok = Traces.trace_open(instance, 3, 1_000_000)
      assert Traces.trace_take(instance, 9) == [span(1), span(2), span(3)]
      :ok = Traces.trace_put(instance, span(4))
      Engine.close(instance)
      eventually(fn -> Kantoku.Native.trace_counts(instance) == :unknown end)
      assert Traces.trace_take(instance, 1) == :unknown
      :ok = Engine.open(instance, :unique, 1, [], @engine)
      assert Traces.trace_take(instance, 9) == []
      assert %{kept: 0} = Traces.trace_counts(instance)
    end

    test "an instance that comes after another of its name keeps its own", %{instance: instance} do
      :ok = Traces.trace_open(instance, 3, 1_000_000)
      :ok = Traces.trace_share(instance)
      :ok = Traces.trace_put(instance, span(1))
      Engine.close(instance)
      :ok = Engine.open(instance, :unique, 1, [], @engine)
      :ok = Traces.trace_open(instance, 5, 1_000_000)
      :ok = Traces.trace_share(instance)
      for number <- 2..9, do: Traces.trace_put(instance, span(number))
      assert %{held: 5, dropped: 3} = Traces.trace_counts(instance)
      assert Traces.trace_take(instance, 9) == Enum.map(2..6, &span/1)
    end

    test "only an open buffer is shared", %{instance: instance} do
      assert Traces.trace_share(:"#{instance}_of_nobody") == :unknown
      assert Traces.trace_share(instance) == :ok
      assert Traces.trace_put(instance, span(1)) == :closed
    end
  end

  test "limits that are none are refused", %{instance: instance} do
    for bad <- [0, -1, :many, 1.0] do
      assert_raise ArgumentError, fn -> Traces.trace_open(instance, bad, 1) end
      assert_raise ArgumentError, fn -> Traces.trace_open(instance, 1, bad) end
      assert_raise ArgumentError, fn -> Traces.trace_take(instance, bad) end
    end
  end
end
