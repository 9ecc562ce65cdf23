Code.require_file("../../demo/load.exs", __DIR__)

import Kantoku.EachEngine

each_engine Demo.FaultsTest do
  import Kantoku.DemoConsole, only: [run: 1]

  @tag :tmp_dir
  @tag timeout: 300_000
  test "whoever hangs is found and restarted, whoever is slow or leaks is not, and the result is the same", %{
    tmp_dir: dir
  } do
    for n <- 1..40, do: File.write!("#{dir}/text#{n}", Enum.map_join(1..200, " ", &"word#{rem(&1 * n, 97)} a#{&1}"))

    # One fault a second, the third of which is a hang, and nobody is killed before it is found.
    argv = [dir, "--faults", "--agents", "30", "--kill-rate", "0", "--seconds", "4", "--json", "--engine", "#{@engine}"]
    {status, output} = run(argv)
    assert status == 0, output
    assert output =~ "identical: nothing lost, nothing counted twice"
    assert output =~ "healthy agents restarted: 0"
    assert output =~ ~r/health +\d+ healthy, \d+ unhealthy, \d+ found stuck and restarted/
    assert output =~ "breakers read closed, extract closed"
    assert output =~ ~r/alerts +(none|stuck)/
    last = output |> String.split("\n", trim: true) |> List.last()

    count = fn name ->
      ~r/"#{name}":(\d+)/ |> Regex.run(last, capture: :all_but_first) |> hd() |> String.to_integer()
    end

    assert last =~ ~s("faults":true)
    assert Enum.map([:hung_killed, :hung_left, :healthy_restarted], count) == [0, 0, 0]
    assert count.(:hangs) > 0 and count.(:stuck_found) == count.(:hangs)
    assert count.(:slowdowns) > 0 and count.(:leaks) > 0
  end
end
