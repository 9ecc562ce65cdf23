for name <- ~w(figure front_page), do: Code.require_file("../../bench/elixir/harness/#{name}.ex", __DIR__)

defmodule Bench.FrontPageTest do
  use ExUnit.Case, async: true

  @readme "before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n"

  @names """
  | `lookup` | ours | a peer |
  | `lookup.deep` | ours, deep | another peer |
  | `memory` | ours | figures |
  | `flooded` | ours | none: ours alone |
  | `stale` | must be zero |
  | `first`, `second` | ours, in two ways | a peer |
  """

  @tag :tmp_dir
  test "shows the worst of each name, marks what is lost, and leaves the rest of the page alone", %{tmp_dir: folder} do
    page =
      fill(folder, [
        "ratio lookup.a 2.000 1.500 3.000",
        "ratio lookup.b 0.500 0.250 0.750",
        "ratio lookup.deep.x 4.000 4.000 4.000"
      ])

    assert page =~ "| `lookup` | ours | a peer | **0.50**, we lose (0.25 to 0.75) |"
    assert page =~ "| `lookup.deep` | ours, deep | another peer | 4.00 (4.00 to 4.00) |"
    refute page =~ "2.00"
    assert String.starts_with?(page, "before\n") and String.ends_with?(page, "<!-- bench:end -->\nafter\n")
    refute page =~ "old"
  end

  @tag :tmp_dir
  test "calls nothing lost that is shown as equal", %{tmp_dir: folder} do
    page = fill(folder, ["ratio lookup.a 0.996 0.900 1.100"])
    assert page =~ "| `lookup` | ours | a peer | 1.00 (0.90 to 1.10) |"
  end

  @tag :tmp_dir
  test "calls nothing lost that is compared with itself", %{tmp_dir: folder} do
    page = fill(folder, ["ratio flooded 0.532 0.000087 0.540"])
    assert page =~ "| `flooded` | ours | none: ours alone | 0.53 (0.00009 to 0.54) |"
  end

  @tag :tmp_dir
  test "shows figures, checks, and what broke off", %{tmp_dir: folder} do
    page =
      fill(folder, [
        "figure memory.each 1500.000 1000.000 2000.000 bytes each",
        "check stale passed kills=9 stale=0",
        "failed lookup.a"
      ])

    assert page =~ "| `memory` | each | 1,500 bytes each |"
    assert page =~ "| `stale` | passed | kills=9 stale=0 |"
    assert page =~ "| `lookup.a` | **broke off** | |"
    assert page =~ ~r/<details>.*memory.*broke off.*<\/details>/s
  end

  @tag :tmp_dir
  test "knows each of several names that are explained together", %{tmp_dir: folder} do
    page = fill(folder, ["ratio first.a 2.000 1.000 3.000", "ratio second 4.000 4.000 4.000"])
    assert page =~ "| `first` | ours, in two ways | a peer | 2.00 (1.00 to 3.00) |"
    assert page =~ "| `second` | ours, in two ways | a peer | 4.00 (4.00 to 4.00) |"
  end

  @tag :tmp_dir
  test "refuses a result that nobody explained", %{tmp_dir: folder} do
    assert_raise RuntimeError, "bench/README.md explains no name for find.only", fn ->
      fill(folder, ["ratio find.only 0.100 0.100 0.100"])
    end
  end

  @tag :tmp_dir
  test "says so where there are no results, and comes to the same the second time", %{tmp_dir: folder} do
    page = Bench.FrontPage.fill(@readme, folder, @names)
    assert page =~ "No full run is in `bench/results` yet"
    assert Bench.FrontPage.fill(page, folder, @names) == page
  end

  defp fill(folder, lines) do
    header = for label <- ~w(machine software commit command), do: "- #{label}: #{label} of it\n"

    File.write!(
      Path.join(folder, "registry.md"),
      "# registry\n\n#{header}\n## Lines\n\n```\n#{Enum.join(lines, "\n")}\n```\n"
    )

    Bench.FrontPage.fill(@readme, folder, @names)
  end
end
