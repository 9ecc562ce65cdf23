defmodule Kantoku.Native.FuzzTest do
  use ExUnit.Case, async: true

  alias Kantoku.{Nonsense, OtherVM}

  # More of each function and in all: KANTOKU_FUZZ_EACH, KANTOKU_FUZZ_TOTAL. Another run: KANTOKU_SEED.
  @each "KANTOKU_FUZZ_EACH" |> System.get_env("200") |> String.to_integer()
  @total "KANTOKU_FUZZ_TOTAL" |> System.get_env("20000") |> String.to_integer()

  @tag timeout: :infinity
  @tag :tmp_dir
  test "no term, from no process, killed at no moment, ends the VM", %{tmp_dir: folder} do
    seed = "KANTOKU_SEED" |> System.get_env("#{System.unique_integer([:positive])}") |> String.to_integer()
    vm = OtherVM.start()
    counts = OtherVM.run(vm, {Nonsense, :run, [seed, @each, @total, folder]}, :infinity)
    calls = counts |> Map.values() |> Enum.sum()

    IO.puts(
      "fuzz: #{calls} calls of #{map_size(counts)} functions, #{counts |> Map.values() |> Enum.min()} at least of each (KANTOKU_SEED=#{seed})"
    )

    assert Enum.all?(counts, fn {_function, count} -> count >= @each end)
    assert OtherVM.run(vm, {Kantoku.Lives, :serves?, []})
    OtherVM.stop(vm)
  end
end
