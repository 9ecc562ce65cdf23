defmodule Kantoku.Trace.SamplerTest do
  use ExUnit.Case, async: true

  alias Kantoku.Trace.{Context, Ids, Sampler}

  defp parent(sampled), do: %Context{trace: {1, 2, 3}, span: 4, sampled: sampled}

  test "each of the six, without a parent and below one" do
    {trace, _span} = Ids.root()

    for {name, root, below_unsampled, below_sampled} <- [
          {:always_on, true, true, true},
          {:always_off, false, false, false},
          {:parentbased_always_on, true, false, true},
          {:parentbased_always_off, false, false, true}
        ] do
      sampler = Sampler.new(name, 0.5)

      assert {Sampler.root?(sampler, trace), Sampler.child?(sampler, parent(false)),
              Sampler.child?(sampler, parent(true))} ==
               {root, below_unsampled, below_sampled}
    end

    ratio = Sampler.new(:parentbased_traceidratio, 0.5)
    assert {Sampler.child?(ratio, parent(false)), Sampler.child?(ratio, parent(true))} == {false, true}
    # By the id alone, whoever is above.
    by_id = Sampler.new(:traceidratio, 0.5)
    high = %{parent(true) | trace: {1, 0xFFFFFFFF, 0}}
    low = %{parent(false) | trace: {1, 0, 0}}
    assert {Sampler.child?(by_id, high), Sampler.child?(by_id, low)} == {false, true}
  end

  test "nothing and everything are exact" do
    for _ <- 1..1_000 do
      {trace, _span} = Ids.root()
      assert Sampler.root?(Sampler.new(:traceidratio, 1.0), trace)
      refute Sampler.root?(Sampler.new(:traceidratio, 0), trace)
    end

    assert Sampler.root?(Sampler.new(:traceidratio, 1), {0, 0xFFFFFFFF, 0xFFFFFFFF})
  end

  # Of 200,000 a share of 1 % is off by 6.5 standard deviations less than once in ten billion runs.
  test "the ratio is what was asked for" do
    count = 200_000

    for ratio <- [0.01, 0.25, 0.9] do
      sampler = Sampler.new(:parentbased_traceidratio, ratio)
      sampled = Enum.count(1..count, fn _ -> Sampler.root?(sampler, elem(Ids.root(), 0)) end)
      assert abs(sampled - count * ratio) < 6.5 * :math.sqrt(count * ratio * (1 - ratio))
    end
  end

  test "ids are of their own, within a process and between many" do
    mine = for _ <- 1..10_000, do: Ids.root()
    others = Task.async_stream(1..100, fn _ -> for(_ <- 1..100, do: Ids.root()) end) |> Enum.flat_map(&elem(&1, 1))
    all = mine ++ others
    assert all |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> length() == 20_000
    assert all |> Enum.map(&elem(&1, 1)) |> Enum.uniq() |> length() == 20_000
    assert Enum.all?(all, fn {_trace, span} -> span > 0 end)
  end

  test "who seeds the generator of the process has no say in ids" do
    ids = for _ <- 1..2, do: Task.await(Task.async(fn -> :rand.seed(:exsss, 7) && Ids.root() end))
    assert [one, other] = ids
    assert one != other
  end
end
