defmodule Kantoku.Health.SamplerTest do
  use ExUnit.Case, async: true
  import Kantoku.TestOwner, only: [eventually: 1]
  alias Kantoku.Health.Sampler

  # ms that a message may take.
  @limit 20
  @period 1_000

  defmodule Target do
    # Its turn comes late, as on a busy machine: what is asked of it and what is sent to it meanwhile it comes to in one.
    @moduledoc false
    use GenServer

    def start_link(arg), do: GenServer.start_link(__MODULE__, arg, spawn_opt: [priority: :low])

    @impl true
    def init(nil), do: {:ok, nil, :hibernate}

    @impl true
    def handle_cast(:hang, _state), do: receive(do: (:never -> :ok))
    def handle_cast(:work, state), do: {:noreply, state, :hibernate}
  end

  setup do
    for _ <- 1..System.schedulers_online(), do: start_supervised!({Task, &busy/0}, id: make_ref())
    %{sampler: start_supervised!({Sampler, nil})}
  end

  defp busy, do: busy()

  defp spin(us), do: spin_until(System.monotonic_time(:microsecond) + us)
  defp spin_until(then), do: if(System.monotonic_time(:microsecond) < then, do: spin_until(then))

  test "who begins to hang while it is looked at is found as well", %{sampler: sampler} do
    targets = for n <- 1..100, do: {n, start_supervised!({Target, nil}, id: n)}
    for {_n, target} <- targets, do: until_waiting(target)

    for {n, target} <- targets do
      assert look(sampler, [{n, target, @limit}]) == []
      Sampler.look(sampler, [{n, target, @limit}], @period)
      spin(rem(n, 20) * 10)
      GenServer.cast(target, :hang)
      assert_receive {:sampled, _found, _lag}
    end

    all = for {n, target} <- targets, do: {n, target, @limit}
    assert eventually(fn -> length(for {_n, _pid, :failure, _} <- look(sampler, all), do: 1) == length(targets) end)
  end

  test "who does a little between two looks is not found, at whatever moment it does", %{sampler: sampler} do
    target = start_supervised!({Target, nil})

    for _ <- 1..50 do
      Sampler.look(sampler, [{1, target, @limit}], @period)
      GenServer.cast(target, :work)
      assert_receive {:sampled, [], _lag}
    end
  end

  test "who hangs is found while all processes are looked at, and code is loaded", %{sampler: sampler} do
    target = start_supervised!({Target, nil})
    until_waiting(target)
    GenServer.cast(target, :hang)

    assert eventually(fn ->
             for _ <- 1..5, do: Enum.each(Process.list(), &Process.info(&1, [:memory, :current_function]))
             Code.eval_string("defmodule Kantoku.Health.SamplerLoaded, do: nil")
             :code.delete(Kantoku.Health.SamplerLoaded)
             :code.purge(Kantoku.Health.SamplerLoaded)
             match?([{1, ^target, :failure, _}], look(sampler, [{1, target, @limit}]))
           end)
  end

  defp until_waiting(target), do: assert(eventually(fn -> Process.info(target, :status) == {:status, :waiting} end))

  defp look(sampler, agents) do
    Sampler.look(sampler, agents, @period)
    assert_receive {:sampled, found, _lag}
    found
  end
end
