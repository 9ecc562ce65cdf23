Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.JidoCrewTest do
  use ExUnit.Case, async: true

  import Kantoku.DemoConsole, only: [run: 1]

  @tag :jido
  @tag :tmp_dir
  @tag timeout: 180_000
  test "a fleet of Jido's agents comes to the same, too", %{tmp_dir: dir} do
    for n <- 1..40, do: File.write!("#{dir}/text#{n}", Enum.map_join(1..200, " ", &"word#{rem(&1 * n, 97)} a#{&1}"))
    File.write!("#{dir}/large", Enum.map_join(1..40_000, " ", &"term#{rem(&1, 12)}x"))
    File.write!("#{dir}/image", <<0, 1, 2>>)
    {0, output} = run([dir, "--jido", "--agents", "40", "--kill-rate", "40", "--seconds", "2", "--json"])

    assert output =~ "40 agents of Jido's on the native engine"
    assert output =~ "identical: nothing lost, nothing counted twice"
    assert output =~ "42 below #{dir}: 41 text, 1 binary"
    last = output |> String.split("\n", trim: true) |> List.last()
    assert last =~ ~s("crew":"jido")
    assert [kills] = Regex.run(~r/"kills":(\d+)/, last, capture: :all_but_first)
    assert String.to_integer(kills) > 0
  end
end
