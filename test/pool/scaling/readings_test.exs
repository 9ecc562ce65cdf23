defmodule Kantoku.Pool.Scaling.ReadingsTest do
  use ExUnit.Case, async: true

  alias Kantoku.Pool.Scaling.Readings

  @calm %{ready: 4, free: 8, ongoing: 0, queue: 0, arrived: 0, served: 0, wait: 0, hold: 0}

  defp read(steps) do
    {read, _} =
      Enum.map_reduce(steps, %Readings{}, fn {now, counts}, before ->
        Readings.of(before, Map.merge(@calm, counts), 2, now)
      end)

    read
  end

  test "requests that workers have and that wait are the load, and permits in use the utilization" do
    assert [%{ongoing: 8, utilization: 0.75}] = read([{0, %{ongoing: 6, queue: 2, free: 2}}])
    assert [%{utilization: nil}] = read([{0, %{ready: 0, free: 0}}])
    # A worker with more than a lowered limit counts for no more than it may have.
    assert [%{utilization: utilization}] = read([{0, %{free: 20}}])
    assert utilization == 0.0
  end

  test "a rate is that of the time since the last look, and unknown at the first" do
    steps = [{0, %{arrived: 50}}, {500, %{arrived: 60}}, {500, %{arrived: 61}}, {1_000, %{arrived: 5}}]
    assert for(%{arrival_rate: rate} <- read(steps), do: rate) == [nil, 20.0, 1_000.0, 10.0]
  end

  test "who waits while nobody is served has waited longer, and when nobody waits any more nobody has waited" do
    waits = [
      {0, %{served: 9, wait: 30_000}},
      {100, %{served: 9, wait: 30_000, queue: 3}},
      {200, %{served: 9, wait: 30_000, queue: 3}},
      {300, %{served: 12, wait: 45_000}},
      {400, %{served: 12, wait: 45_000}}
    ]

    assert for(%{queue_wait: wait} <- read(waits), do: wait) == [30.0, 130.0, 230.0, 45.0, 0]
  end

  test "how long a request is served is unknown until one was" do
    assert [%{service_time: nil}, %{service_time: 12.0}] = read([{0, %{}}, {1, %{hold: 12_000}}])
  end
end
