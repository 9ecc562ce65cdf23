defmodule Kantoku.Resources.FamiliesTest do
  use ExUnit.Case, async: true

  alias Kantoku.Resources.{Census, Families}

  test "domains beyond the first hundred by name are one series of what agents carried, in which nothing is lost" do
    io = for n <- 1..120, into: %{}, do: {:"d#{n + 100}", %{input: n, output: 2 * n}}
    sums = %{domains: %{}, pools: %{}, all: Census.nothing(), others: %{processes: 1, memory: 1}, io: io, age: 0}
    %{series: series} = Enum.find(Families.of_instance(:any, sums), &(&1.name == "kantoku_agents_io_bytes"))

    for {direction, all} <- [{"receive", 7_260.0}, {"transmit", 14_520.0}] do
      told = for %{labels: %{"direction" => ^direction} = labels, value: value} <- series, do: {labels["domain"], value}
      assert length(told) == 100
      assert Enum.sum(for {_domain, value} <- told, do: value) == all
      assert {"other", value} = List.keyfind(told, "other", 0)
      assert value > 0 and List.keymember?(told, "d101", 0) and not List.keymember?(told, "d220", 0)
    end
  end
end
