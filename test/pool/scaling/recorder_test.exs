defmodule Kantoku.Pool.Scaling.RecorderTest do
  import Kantoku.PoolCase

  pools_on_each_engine Kantoku.Pool.Scaling.RecorderTest do
    import ExUnit.CaptureLog

    alias Kantoku.Pool.Recording

    @scaling [
      max: 4,
      metrics: [ongoing: 1],
      look_back: 0,
      scale_down: [stabilization: 100],
      forecast: [bucket: 80, season: 800, lead: 80]
    ]

    setup do
      path = Path.join(System.tmp_dir!(), "kantoku_recorder_#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm_rf(path) end)
      {:ok, path: path, pool: pool!(@engine, target: 1, codel: false, scaling: @scaling)}
    end

    defp entries(path) do
      {:ok, entries} = path |> File.read!() |> Recording.decode()
      entries
    end

    test "what a pool decides can be recorded and replayed, across a killed foreman", %{path: path, pool: pool} do
      :ok = Pool.record(pool, path)
      eventually(fn -> entries(path) != [] end)
      for _ <- 1..4, do: assert({:ok, :ok} = Pool.call(pool, {:sleep, 30}))
      # What came since its last look a foreman takes along.
      called = length(entries(path))
      eventually(fn -> length(entries(path)) > called + 2 end)
      foreman = foreman(pool)
      kill(foreman)
      eventually(fn -> foreman(pool) != foreman end)
      seen = length(entries(path))
      eventually(fn -> length(entries(path)) > seen + 5 end)
      :ok = Pool.record(pool, nil)
      eventually(fn -> match?(%{recorder: nil}, :sys.get_state(foreman(pool)).scaling) end)
      assert {:ok, trace} = Recording.trace(entries(path))
      assert trace.until > trace.at
      assert %{totals: %{arrivals: arrivals}} = Pool.Simulation.run(trace, Pool.Scaler.Policy.new!(max: 4))
      assert arrivals in 3..5
    end

    test "a file that cannot be written is said at once, or ends the recording", %{path: path, pool: pool} do
      assert_raise File.Error, fn -> Pool.record(pool, Path.join(path, "none")) end
      {:ok, {_rows, book}} = Kantoku.Instances.tables(elem(pool, 0))
      File.mkdir_p!(path)

      log =
        capture_log(fn ->
          :ets.insert(book, {{:pool_record, :workers}, path})
          eventually(fn -> :ets.lookup(book, {:pool_record, :workers}) == [] end)
        end)

      assert log =~ "#{path} cannot be written (illegal operation on a directory)"
      assert {:ok, _} = Pool.call(pool, :pid)
    end

    # A device on which every write finds no space left.
    @full "/dev/full"

    @tag skip: not File.exists?(@full) && "no #{@full} here"
    test "a full disk is said at once, or ends the recording and nothing else", %{pool: pool} do
      assert %File.Error{reason: :enospc} = catch_error(Pool.record(pool, @full))
      {:ok, {_rows, book}} = Kantoku.Instances.tables(elem(pool, 0))
      assert :ets.lookup(book, {:pool_record, :workers}) == []
      foreman = foreman(pool)

      log =
        capture_log(fn ->
          # As if it filled up after the first line was written.
          :ets.insert(book, {{:pool_record, :workers}, @full})
          eventually(fn -> :ets.lookup(book, {:pool_record, :workers}) == [] end)
        end)

      assert log =~ "#{@full} cannot be written (no space left on device)"
      assert {:ok, _} = Pool.call(pool, :pid)
      assert foreman(pool) == foreman and Process.alive?(foreman)
    end
  end
end
