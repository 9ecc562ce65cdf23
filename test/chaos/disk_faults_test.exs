if Kantoku.Native.loaded?() do
  defmodule Kantoku.Chaos.DiskFaultsTest do
    # Disks that are full, files that may not be written or belong to another VM: what an instance says, and what it goes on doing.
    use ExUnit.Case, async: true

    alias Kantoku.{Fleet, MortalVM}
    alias Kantoku.Test.Journal

    @moduletag :tmp_dir
    @moduletag :chaos
    @moduletag timeout: 300_000

    setup %{tmp_dir: dir} do
      store = Path.join([dir, "data", "agents.redb"])
      File.mkdir_p!(Path.dirname(store))
      {:ok, store: store, journal: Path.join(dir, "journal")}
    end

    defp options(context), do: [store: {Kantoku.Store.Disk, path: context.store}]

    # Whom no permission stops gives that up, and keeps all else.
    defp bound_by_permissions do
      case System.cmd("id", ["-u"]) do
        {"0\n", 0} ->
          ~w(setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search)

        _someone ->
          []
      end
    end

    # A signal for each write beyond the limit would end it; without it the write fails as on a full disk.
    defp told_of_limits, do: ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]

    # At the start ------------------------------------------------------------------------------------------------------

    # What `start_link` answers and what an application's supervisor is told name the path and what to do.
    defp refused!(vm, context, kind, remedy) do
      assert {:error, {:store, {Kantoku.Store.Disk, _options}, {^kind, message}}} =
               MortalVM.run(vm, {Fleet, :start_alone, [options(context)]})

      assert message =~ context.store
      assert message =~ remedy
      {:error, reason} = MortalVM.run(vm, {Fleet, :start, [options(context)]})
      assert Application.format_error(reason) =~ remedy
    end

    test "a file that another VM has open is refused, and had when that one is gone", context do
      [first, second] = for _ <- 1..2, do: MortalVM.start()
      assert :ok = MortalVM.run(first, {Fleet, :start, [options(context)]})
      refused!(second, context, :locked, "give each instance a path of its own, or stop the other one")
      MortalVM.kill(first)
      assert :ok = MortalVM.run(second, {Fleet, :restart, []})
      MortalVM.kill(second)
    end

    test "a folder that may not be written is refused", context do
      File.chmod!(Path.dirname(context.store), 0o500)
      on_exit(fn -> File.chmod!(Path.dirname(context.store), 0o700) end)
      vm = MortalVM.start(bound_by_permissions())
      refused!(vm, context, :read_only, "give this user write access to the file and its folder")
      File.chmod!(Path.dirname(context.store), 0o700)
      assert :ok = MortalVM.run(vm, {Fleet, :restart, []})
      MortalVM.kill(vm)
    end

    test "a file that may not be written is refused, and left as it was", context do
      first = MortalVM.start()

      assert :ok =
               MortalVM.run(first, {Fleet, :launch, [options(context), [{1, [durability: :sync]}], context.journal]})

      assert {:ok, 1} = MortalVM.run(first, {Fleet, :ask, [1, {:step, 1, 1}]})
      MortalVM.kill(first)
      before = File.read!(context.store)

      File.chmod!(context.store, 0o400)
      vm = MortalVM.start(bound_by_permissions())
      refused!(vm, context, :read_only, "give this user write access to the file and its folder")
      assert File.read!(context.store) == before
      MortalVM.kill(vm)
    end

    test "a disk without room for a new file is refused, and served when it has some", context do
      vm = MortalVM.start(told_of_limits())
      MortalVM.limit_files(vm, 8_192)
      refused!(vm, context, :disk_full, "free some or raise the quota")
      MortalVM.limit_files(vm, :unlimited)
      assert :ok = MortalVM.run(vm, {Fleet, :restart, []})
      assert File.ls!(Path.dirname(context.store)) == [Path.basename(context.store)]
      MortalVM.kill(vm)
    end

    defp wait_for_more(context, count) do
      if length(Journal.read(context.journal, :acked)) < count, do: Process.sleep(10) && wait_for_more(context, count)
    end

    # While it runs -----------------------------------------------------------------------------------------------------

    test "while the disk is full agents serve and say what is not kept, and when it is freed nothing is lost",
         context do
      agents = for id <- 1..4, do: {id, [durability: :sync, snapshot: :every_change]}
      vm = MortalVM.start(told_of_limits())
      assert :ok = MortalVM.run(vm, {Fleet, :launch, [options(context), agents, context.journal]})
      assert :ok = MortalVM.run(vm, {Fleet, :work, [[1, 2, 3], 2, context.journal]})
      assert {:ok, 1} = MortalVM.run(vm, {Fleet, :ask, [4, {:step, 1, 1}]})

      # The journal, small, is still written. No commit fits: it takes more pages than there are below.
      MortalVM.limit_files(vm, 12_288)
      assert %{reason: {:disk_full, message}} = MortalVM.run(vm, {Fleet, :next_event, [[:agent, :snapshot, :failed]]})
      assert message =~ context.store and message =~ "free some or raise the quota"

      for n <- 2..4 do
        assert {:ok, {:error, {:not_durable, {:disk_full, ^message}}}} =
                 MortalVM.run(vm, {Fleet, :ask, [4, {:step, 1, n}]})
      end

      assert [{4, %{steps: %{1 => 4}}, %{revision: 4}}] = MortalVM.run(vm, {Fleet, :states, [[4]]})

      MortalVM.limit_files(vm, :unlimited)
      settled = MortalVM.run(vm, {Fleet, :settled, [[4]]})
      assert [{4, %{steps: %{1 => 4}, paid: %{1 => 3}}, %{revision: 5, kept: 5}}] = settled
      assert {:ok, 5} = MortalVM.run(vm, {Fleet, :ask, [4, {:step, 1, 5}]})
      wait_for_more(context, length(Journal.read(context.journal, :acked)) + 20)
      MortalVM.kill(vm)

      acked = for [id, caller, n] <- Journal.read(context.journal, :acked), into: %{}, do: {{id, caller}, n}
      assert map_size(acked) == 6 and Enum.all?(acked, fn {_who, n} -> n > 0 end)
      next = MortalVM.start()
      assert :ok = MortalVM.run(next, {Fleet, :launch, [options(context), agents, context.journal]})
      found = MortalVM.run(next, {Fleet, :states, [[1, 2, 3, 4]]})
      steps = for {id, ledger, _info} <- found, {caller, n} <- ledger.steps, into: %{}, do: {{id, caller}, n}
      for {who, n} <- acked, do: assert(Map.get(steps, who, 0) >= n, "#{inspect(who)} had #{n} acknowledged")
      for {_id, ledger, info} <- found, do: assert({ledger.torn, ledger.changes} == {[], info.revision})
      assert Journal.read(context.journal, :failed) == []
      MortalVM.kill(next)
    end

    defp at_work_when_the_disk_fills(context) do
      agents = [{1, [durability: :sync]}, {2, [snapshot: :on_stop]}]
      vm = MortalVM.start(told_of_limits())
      options = [drain: [timeout: 1_000]] ++ options(context)
      assert :ok = MortalVM.run(vm, {Fleet, :launch, [options, agents, context.journal]})
      for id <- 1..2, n <- 1..2, do: assert({:ok, ^n} = MortalVM.run(vm, {Fleet, :ask, [id, {:step, 1, n}]}))
      MortalVM.limit_files(vm, 8_192)
      {vm, agents}
    end

    defp steps_when_started_again(vm, agents, context) do
      assert :ok = MortalVM.run(vm, {Fleet, :restart, []})
      assert :ok = MortalVM.run(vm, {Fleet, :man, [agents, context.journal]})
      for {_id, ledger, _info} <- MortalVM.run(vm, {Fleet, :states, [[1, 2]]}), do: ledger.steps[1]
    end

    test "an instance that ends on a full disk does so in time, and what was kept is there", context do
      {vm, agents} = at_work_when_the_disk_fills(context)
      {took, :ok} = :timer.tc(fn -> MortalVM.run(vm, {Application, :stop, [:fleet]}) end)
      assert took in 4_000_000..15_000_000
      MortalVM.limit_files(vm, :unlimited)
      assert [2, nil] = steps_when_started_again(vm, agents, context)
      MortalVM.kill(vm)
    end

    test "an instance that ends on a full disk writes all if that is freed in time", context do
      {vm, agents} = at_work_when_the_disk_fills(context)
      drained = Task.async(fn -> MortalVM.run(vm, {Fleet, :next_event, [[:drain, :stop]]}) end)
      stopped = Task.async(fn -> MortalVM.run(vm, {Application, :stop, [:fleet]}) end)
      assert %{result: :cut_off} = Task.await(drained, 30_000)
      MortalVM.limit_files(vm, :unlimited)
      assert :ok = Task.await(stopped, 30_000)
      assert [2, 2] = steps_when_started_again(vm, agents, context)
      MortalVM.kill(vm)
    end

    # Disks of our own ----------------------------------------------------------------------------------------------------

    # Where the system lets us mount one.
    if match?({_output, 0}, System.cmd("sh", ["-c", "unshare -rm mount -t tmpfs none /mnt"], stderr_to_stdout: true)) do
      defp start_on_disk(context, options) do
        mount = "mount -t tmpfs -o size=64m none #{folder(context)}"

        MortalVM.start(["unshare", "-rm", "sh", "-c", "#{mount} && exec \"$@\"", "sh"])
        |> tap(&remount(&1, context, options))
      end

      defp remount(vm, context, options) do
        mount = ["-o", "remount,#{options}", folder(context)]
        assert {"", 0} = MortalVM.run(vm, {System, :cmd, ["mount", mount, [stderr_to_stdout: true]]})
      end

      defp folder(context), do: Path.dirname(context.store)

      defp load(vm, id), do: MortalVM.run(vm, {Fleet, :ask, [id, {:load, 600_000}]})

      test "a disk that may only be read is refused", context do
        vm = start_on_disk(context, "ro")
        refused!(vm, context, :read_only, "or choose another path")
        remount(vm, context, "rw")
        assert :ok = MortalVM.run(vm, {Fleet, :restart, []})
        MortalVM.kill(vm)
      end

      test "a small disk is filled by agents until they say so, and all is written when it grows", context do
        agents = for id <- 1..10, do: {id, [durability: :sync]}
        vm = start_on_disk(context, "size=4m")
        assert :ok = MortalVM.run(vm, {Fleet, :launch, [options(context), agents, context.journal]})

        {kept, [refused | _]} = 1..10 |> Enum.map(&load(vm, &1)) |> Enum.split_while(&(&1 == {:ok, :ok}))
        assert kept != []
        assert {:ok, {:error, {:not_durable, {:disk_full, message}}}} = refused
        assert message =~ context.store and message =~ "free some or raise the quota"

        remount(vm, context, "size=64m")
        assert :ok = MortalVM.run(vm, {Fleet, :settle, [Enum.to_list(1..10)]})
        assert :ok = MortalVM.run(vm, {Application, :stop, [:fleet]})
        assert :ok = MortalVM.run(vm, {Fleet, :restart, []})
        assert :ok = MortalVM.run(vm, {Fleet, :man, [agents, context.journal]})
        assert MortalVM.run(vm, {Fleet, :loads, [Enum.to_list(1..10)]}) == List.duplicate(600_000, 10)
        MortalVM.kill(vm)
      end
    end
  end
end
