Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.JobTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureIO
  import Kantoku.DemoConsole, only: [run: 1]

  alias Demo.{Extractor, Indexer, Tally}

  describe "an indexer" do
    test "merges a part once, however often it is delivered" do
      tally = Tally.of("one two 3")
      {once, [{:reply, :merged}]} = Indexer.cmd(Indexer.new([]), {:merge, {1, 0, 0}, 1, tally})
      assert {^once, [{:reply, :refused}]} = Indexer.cmd(once, {:merge, {1, 0, 0}, 1, tally})
      {twice, [{:reply, :merged}]} = Indexer.cmd(once, {:merge, {2, 0, 0}, 1, tally})
      assert {^twice, [{:reply, read}]} = Indexer.cmd(twice, :read)
      assert read == Tally.times(tally, 2)
    end

    test "forgets the keys of passes that are done, and refuses what still comes of them" do
      tally = Tally.of("one")
      {agent, _} = Indexer.cmd(Indexer.new([]), {:merge, {1, 0, 0}, 1, tally})
      {agent, _} = Indexer.cmd(agent, {:merge, {3, 0, 0}, 3, tally})
      assert Map.keys(agent.merged) == [3]
      assert {^agent, [{:reply, :refused}]} = Indexer.cmd(agent, {:merge, {1, 0, 0}, 1, tally})
      assert {^agent, [{:reply, :refused}]} = Indexer.cmd(agent, {:merge, {2, 7, 0}, 1, tally})
    end
  end

  test "an extractor answers when the result is a directive of its own" do
    errand = %{key: {1, 0, 0}, indexer: {:index, 0}, asker: self()}
    assert {agent, directives} = Extractor.cmd(Extractor.new([]), {:extract, errand, "one 2"})
    assert directives == [{:reply, :taken}, {:deliver, errand, Tally.of("one 2")}]
    assert agent.taken == 1
  end

  for engine <- Kantoku.EachEngine.engines() do
    @tag :tmp_dir
    @tag timeout: 180_000
    test "a fleet under a storm of kills comes to the same as a plain computation (#{engine})", %{tmp_dir: dir} do
      for n <- 1..40, do: File.write!("#{dir}/text#{n}", Enum.map_join(1..200, " ", &"word#{rem(&1 * n, 97)} a#{&1}"))
      File.write!("#{dir}/large", Enum.map_join(1..40_000, " ", &"term#{rem(&1, 12)}x"))
      File.write!("#{dir}/packed.gz", :zlib.gzip("some packed words 12"))
      File.write!("#{dir}/image", <<0, 1, 2>>)
      File.write!("#{dir}/broken.gz", <<0x1F, 0x8B, 0>>)
      File.write!("#{dir}/empty", "")

      {0, output} =
        run([dir, "--agents", "60", "--kill-rate", "60", "--seconds", "2", "--json", "--engine", "#{unquote(engine)}"])

      assert output =~ "identical: nothing lost, nothing counted twice"
      assert output =~ "45 below #{dir}: 43 text, 1 binary, 1 damaged"
      last = output |> String.split("\n", trim: true) |> List.last()
      assert last =~ ~r/^{"identical":true,"lost":0,"counted_twice":0,"engine":"#{unquote(engine)}"/
      assert [kills] = Regex.run(~r/"kills":(\d+)/, last, capture: :all_but_first)
      assert String.to_integer(kills) > 0
      assert last =~ ~r/"restarts":[1-9]/
      assert last =~ ~r/"surge":false/
    end

    @tag :tmp_dir
    @tag timeout: 180_000
    test "a surge fills the pools, and the result is the same (#{engine})", %{tmp_dir: dir} do
      for n <- 1..60, do: File.write!("#{dir}/text#{n}", Enum.map_join(1..3_000, " ", &"word#{rem(&1 * n, 97)} a#{&1}"))
      argv = [dir, "--agents", "30", "--kill-rate", "30", "--seconds", "4", "--surge", "--json"]
      {0, output} = run(argv ++ ["--engine", "#{unquote(engine)}"])

      assert output =~ "identical: nothing lost, nothing counted twice"
      assert output =~ "with 32 times as many files at once"
      last = output |> String.split("\n", trim: true) |> List.last()
      assert last =~ ~s("surge":true)
      assert last =~ ~r/"pool_read_queue_most":[1-9]/
      assert last =~ ~r/"(queue_full|overloaded)":[1-9]/
    end
  end

  unless Kantoku.Jido.compiled?() do
    test "Jido's agents are asked for where Jido is not" do
      assert capture_io(:stderr, fn -> assert {2, _} = run(["--jido", "--json"]) end) =~
               "--jido needs Jido, which is not among"
    end
  end

  @tag :tmp_dir
  test "a folder that gives nothing to do is named, and the exit code is 2", %{tmp_dir: dir} do
    assert capture_io(:stderr, fn -> assert {2, _} = run([dir]) end) =~ "#{dir} holds no file"

    assert capture_io(:stderr, fn ->
             assert {2, output} = run([Path.join(dir, "none"), "--json"])
             assert output =~ ~r/^{"identical":false,"error":".*none cannot be read/
           end) =~ "none cannot be read: no such file or directory"
  end

  test "how to call it is told" do
    assert {0, output} = run(["--help"])
    assert output =~ "bin/demo [DIR] [--agents N]"
  end
end
