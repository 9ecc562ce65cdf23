defmodule Kantoku.Trace.SamplerTest do
  use ExUnit.Case, async: true

  import Bitwise
  alias Kantoku.Trace.{Ids, Sampler}
  require Sampler

  defp root, do: hd(roots(1))

  defp roots(count) do
    sources = Stream.iterate(Ids.next(Ids.source()), &Ids.next/1)
    for trace <- Enum.take(sources, count), do: {trace, Ids.first(trace)}
  end

  test "each of the six, without a parent and below one" do
    {trace, _span} = root()

    for {name, root, below_unsampled, below_sampled} <- [
          {:always_on, true, true, true},
          {:always_off, false, false, false},
          {:parentbased_always_on, true, false, true},
          {:parentbased_always_off, false, false, true}
        ] do
      sampler = Sampler.new(name, 0.5)

      below = for sampled <- [false, true], do: Sampler.child?(sampler, trace, sampled)
      assert {Sampler.root?(sampler, trace), below} == {root, [below_unsampled, below_sampled]}
    end

    ratio = Sampler.new(:parentbased_traceidratio, 0.5)
    assert {Sampler.child?(ratio, trace, false), Sampler.child?(ratio, trace, true)} == {false, true}
    # By the id alone, whoever is above.
    by_id = Sampler.new(:traceidratio, 0.5)
    refute Sampler.child?(by_id, {1, 0xFFFFFFFF, 0}, true)
    assert Sampler.child?(by_id, {1, 0, 0}, false)
  end

  test "nothing and everything are exact" do
    for {trace, _span} <- roots(1_000) do
      assert Sampler.root?(Sampler.new(:traceidratio, 1.0), trace)
      refute Sampler.root?(Sampler.new(:traceidratio, 0), trace)
    end

    assert Sampler.root?(Sampler.new(:traceidratio, 1), {0, 0xFFFFFFFF, 0xFFFFFFFF})
  end

  # Of 200,000 a share of 1 % is off by 6.5 standard deviations less than once in ten billion runs.
  test "the ratio is what was asked for" do
    count = 200_000
    roots = roots(count)

    for ratio <- [0.01, 0.25, 0.9] do
      sampler = Sampler.new(:parentbased_traceidratio, ratio)
      sampled = Enum.count(roots, fn {trace, _span} -> Sampler.root?(sampler, trace) end)
      assert abs(sampled - count * ratio) < 6.5 * :math.sqrt(count * ratio * (1 - ratio))
    end
  end

  test "ids are of their own, within a process and between many" do
    mine = roots(10_000)
    others = Task.async_stream(1..100, fn _ -> roots(100) end) |> Enum.flat_map(&elem(&1, 1))
    all = mine ++ others
    assert all |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> length() == 20_000
    assert all |> Enum.map(&elem(&1, 1)) |> Enum.uniq() |> length() == 20_000
    assert Enum.all?(all, fn {_trace, span} -> span > 0 end)
  end

  test "ids come of the generator that OTP has" do
    {upper, state} = Ids.source()

    Enum.reduce(1..1_000, state, fn _n, state ->
      source = Ids.next({upper, state})
      next = :rand.mwc59(state)
      assert source == {upper, next}
      assert Ids.span(source) == (:rand.mwc59_value(next) ||| 1 <<< 58)
      next
    end)
  end

  test "a trace that began here is judged by its id as one from outside is" do
    for {trace, _span} <- roots(1_000) do
      {upper, middle, lower} = parts = Ids.parts(trace)
      assert <<upper::64, middle::32, lower::32>> |> byte_size() == 16
      assert middle < 1 <<< 32 and lower < 1 <<< 32
      assert Ids.share(trace) == Ids.share(parts)
      assert Ids.parts(parts) == parts
    end
  end

  # Level 2 of Trace Context has samplers look at the lower 56 bits.
  test "the lower 56 bits of a trace's id are spread evenly" do
    count = 100_000
    bound = 1 <<< 54

    low =
      Enum.count(roots(count), fn {trace, _span} ->
        {_upper, middle, lower} = Ids.parts(trace)
        (middle <<< 32 ||| lower) |> Bitwise.band((1 <<< 56) - 1) |> Kernel.<(bound)
      end)

    assert abs(low - count / 4) < 6.5 * :math.sqrt(count * 0.25 * 0.75)
  end

  test "who seeds the generator of the process has no say in ids" do
    ids = for _ <- 1..2, do: Task.await(Task.async(fn -> :rand.seed(:exsss, 7) && root() end))
    assert [one, other] = ids
    assert one != other
  end
end
