if Kantoku.Native.loaded?() do
  defmodule Kantoku.Chaos.KilledInstanceTest do
    # The top of an instance is killed, in a VM that lives on: its file is free for the next one.
    use ExUnit.Case, async: true

    alias Kantoku.Test.Ledger

    @moduletag :tmp_dir

    setup %{tmp_dir: dir} = context do
      Process.flag(:trap_exit, true)
      store = {Kantoku.Store.Disk, path: Path.join(dir, "agents.redb")}
      {:ok, options: [name: :"#{context.module}: #{context.test}", store: store], journal: Path.join(dir, "journal")}
    end

    @policies [[durability: :sync], [], [snapshot: :on_stop], [snapshot: {:interval, 60_000}]]

    defp start(context) do
      {:ok, top} = Kantoku.start_link(context.options)

      for {policy, id} <- Enum.with_index(@policies) do
        {:ok, _} = Kantoku.start_agent(context.options[:name], {Ledger, [journal: context.journal]}, [id: id] ++ policy)
      end

      top
    end

    defp kill(top) do
      Process.exit(top, :kill)
      assert_receive {:EXIT, ^top, :killed}
    end

    defp step(context, id, n), do: Kantoku.call(context.options[:name], id, {:step, 1, n})

    test "the next one opens it at once, with all that was acknowledged", context do
      for n <- 1..100 do
        {took, top} = :timer.tc(fn -> start(context) end)
        assert took < 4_000_000, "round #{n}: #{div(took, 1000)} ms"
        assert {:ok, %{steps: steps}} = Kantoku.state(context.options[:name], 0)
        assert steps == if(n == 1, do: %{}, else: %{1 => n - 1})
        assert {:ok, ^n} = step(context, 0, n)
        for id <- 1..3, do: assert({:ok, ^n} = step(context, id, n))
        kill(top)
      end

      assert Supervisor.stop(start(context)) == :ok
    end
  end
end
