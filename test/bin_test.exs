defmodule Kantoku.BinTest do
  # Each test runs a copy of bin/ on a machine made up of stand-ins: the folder `machine` is the whole PATH.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir
  @commands ~w(bin/test bin/demo bin/bench bin/soak)
  @borrowed ~w(bash env dirname basename sed cut sort head tail grep cat cksum find mktemp mkdir touch rm timeout chmod cp cmp mv)
  @everything_there ~s(echo "99.0.0 99 /usr/lib/erlang")
  @oldest_rust File.read!("Cargo.toml") |> then(&Regex.run(~r/^rust-version = "(.+)"/m, &1)) |> List.last()

  setup %{tmp_dir: root} do
    path = Path.join(root, "machine")
    File.mkdir!(path)
    File.cp_r!("bin", Path.join(root, "bin"))
    for file <- ~w(mix.exs Cargo.toml), do: File.cp!(file, Path.join(root, file))
    for tool <- @borrowed, do: File.ln_s!(System.find_executable(tool), Path.join(path, tool))
    for tool <- ~w(cc erl mix), do: stand_in(path, tool, "exit 0")
    stand_in(path, "id", "echo 0")
    stand_in(path, "rustc", "echo rustc 99.0.0")
    stand_in(path, "cargo", ~s(echo '{"rust_version":"1.0"}'))
    stand_in(path, "elixir", @everything_there)
    {:ok, path: path}
  end

  test "without a package manager that they know they say what to install", %{path: path} do
    lose(path, ["elixir", "cc"])
    for command <- @commands, do: assert_refused(path, command, ~r/gcc .*elixir .*no apt-get/)
  end

  test "a machine that has everything needs no package manager", %{path: path} do
    assert {_output, 0} = run(path, "bin/demo")
  end

  test "a Rust that is too old is named beside the oldest that will do", %{path: path} do
    stand_in(path, "rustc", "echo 'rustc 1.70.0 (90c541806 2023-05-31)'")
    for command <- @commands, do: assert_refused(path, command, ~r/Rust #{@oldest_rust} or newer .* this is 1\.70\.0/)
  end

  test "the oldest Rust that will do, does", %{path: path} do
    stand_in(path, "rustc", "echo rustc #{@oldest_rust}.0")
    assert {_output, 0} = run(path, "bin/demo")
  end

  test "Rust is asked for before anything is installed", %{path: path} do
    lose(path, ["rustc", "elixir", "cc"])
    stand_in(path, "apt-get", "echo touched")
    for command <- @commands, do: assert_refused(path, command, ~r/Rust #{@oldest_rust} or newer .* none was found/)
  end

  test "an Elixir that is too old is named beside the oldest that will do", %{path: path} do
    stand_in(path, "elixir", "echo 1.13.4 25 /usr/lib/erlang")
    for command <- @commands, do: assert_refused(path, command, ~r/Elixir 1\.14 or newer .* this is Elixir 1\.13\.4/)
  end

  test "so is an Erlang that is too old", %{path: path} do
    stand_in(path, "elixir", "echo 1.14.5 24 /usr/lib/erlang")

    for command <- @commands,
        do: assert_refused(path, command, ~r/OTP 25 or newer .* this is Elixir 1\.14\.5 on OTP 24/)
  end

  test "an Elixir that apt would install, and that is too old, is not installed", %{path: path} do
    lose(path, ["elixir"])
    offer(path, "1.12.2.dfsg-2")
    for command <- @commands, do: assert_refused(path, command, ~r/Elixir 1\.14 or newer .* apt offers 1\.12\.2/)
  end

  test "what is missing is installed through apt, with a line for each that says why", %{path: path} do
    lose(path, ["elixir", "cc"])
    offer(path, "1.14.0.dfsg-2")
    {output, 0} = run(path, "bin/test")
    assert output =~ ~r/installing gcc: \w+/
    assert output =~ ~r/installing elixir: \w+/
    assert output =~ ~r/installing erlang-proper: \w+/
    assert File.read!(Path.join(path, "installed")) =~ ~r/install .*gcc libc6-dev .*elixir erlang-proper/
  end

  test "who is not root and has no sudo is told so", %{path: path} do
    lose(path, ["elixir"])
    stand_in(path, "id", "echo 1000")
    stand_in(path, "apt-get", "echo touched")
    for command <- @commands, do: assert_refused(path, command, ~r/elixir.* only root can install/)
  end

  test "an Erlang of one's own is not mixed with apt's libraries", %{path: path} do
    stand_in(path, "elixir", "echo 1.18.0 27 /opt/erlang proper")
    stand_in(path, "apt-get", "echo touched")
    assert_refused(path, "bin/test", ~r"proper is needed and the Erlang in /opt/erlang has none")
  end

  test "an argument that bin/test does not know is refused", %{path: path} do
    assert {"bin/test: unknown argument" <> _, 1} = run(path, "bin/test", ["--fast"])
  end

  test "a folder given to bin/demo is meant from where its caller stands", %{path: path, tmp_dir: root} do
    stand_in(path, "mix", ~s(echo "mix $*"))
    {output, 0} = run(path, "bin/demo", ["texts", "--engine", "native", "--json", "more", "--no-http", "less", "/abs"])

    assert output =~
             "mix run demo/run.exs -- #{root}/texts --engine native --json #{root}/more --no-http #{root}/less /abs"
  end

  test "every step is named with the time it began at, and counted", %{path: path} do
    {output, 0} = run(path, "bin/test")
    assert output =~ ~r/^\[\d+:\d\d\] cargo clippy$/m
    assert output =~ ~r/^\[\d+:\d\d\] mix test: passed in/m
    assert output =~ ~r/\A(.*\n)*7 steps passed, 0 failed\n\z/
  end

  test "the oldest Elixir alone checks the format, as newer ones format otherwise", %{path: path} do
    refute elem(run(path, "bin/test"), 0) =~ "mix format"
    stand_in(path, "elixir", "echo 1.14.5 25 /usr/lib/erlang")
    assert elem(run(path, "bin/test"), 0) =~ "mix format: passed"
  end

  test "the first step that fails ends the run with its name and its exit code", %{path: path} do
    stand_in(path, "cargo", ~s|case "$1 $2" in "clippy --locked") exit 42 ;; esac|)
    {output, 42} = run(path, "bin/test")
    assert output =~ "cargo clippy: failed with exit code 42\n1 passed, 1 failed: cargo clippy\n"
    refute output =~ "mix test"
  end

  test "a crate that needs a newer Rust than Cargo.toml says fails its step", %{path: path} do
    stand_in(path, "cargo", ~s(echo '{"rust_version":"98.7","edition":"2024"}'))
    assert {output, 1} = run(path, "bin/test")
    assert output =~ "rust-version in Cargo.toml is #{@oldest_rust} and a crate needs 98.7"
  end

  test "tests of a separate kind are a step once there are any", %{path: path, tmp_dir: root} do
    File.mkdir_p!(Path.join(root, "test/chaos"))
    refute elem(run(path, "bin/test"), 0) =~ "--only"
    File.write!(Path.join(root, "test/chaos/some_test.exs"), "")
    {output, 0} = run(path, "bin/test")
    assert output =~ "mix test --only chaos"
    refute output =~ "mix test --only property"
  end

  test "without Hex the optional packages are left out", %{path: path} do
    stand_in(path, "mix", ~s|case $1 in local.hex) exit 1 ;; esac; echo "$1 without ${KANTOKU_DEPS_DIR:-nothing}"|)
    {output, 0} = run(path, "bin/demo", [], [])
    assert output =~ "Hex cannot be reached"
    assert output =~ ~r"run without /.*/_build/no-packages"
  end

  test "without npm the dashboard goes without charts, and says how they come", %{path: path, tmp_dir: root} do
    File.mkdir_p!(Path.join(root, "native/exporters/assets"))
    for file <- ~w(package.json package-lock.json), do: File.write!(Path.join(root, "native/exporters/#{file}"), "{}")
    assert {output, 0} = run(path, "bin/assets")
    assert output =~ "tables in place of charts (install npm and run bin/assets"
    stand_in(path, "npm", "exit 1")
    assert {output, 0} = run(path, "bin/assets")
    assert output =~ "npm fetched nothing"
  end

  test "npm is asked for what draws the charts once", %{path: path, tmp_dir: root} do
    File.mkdir_p!(Path.join(root, "native/exporters/assets"))
    for file <- ~w(package.json package-lock.json), do: File.write!(Path.join(root, "native/exporters/#{file}"), "{}")

    stand_in(
      path,
      "npm",
      "mkdir -p node_modules/uplot/dist && cd node_modules/uplot && echo MIT > LICENSE && echo js > dist/uPlot.iife.min.js && echo css > dist/uPlot.min.css"
    )

    assert {"", 0} = run(path, "bin/assets")
    assert File.read!(Path.join(root, "native/exporters/assets/vendor/uPlot.iife.min.js")) == "/*\nMIT\n*/\njs\n"
    stand_in(path, "npm", "exit 1")
    assert {"", 0} = run(path, "bin/assets")
  end

  test "with Hex they are fetched", %{path: path} do
    stand_in(path, "mix", ~s(echo "$1 without ${KANTOKU_DEPS_DIR:-nothing}"))
    {output, 0} = run(path, "bin/demo", [], [])
    assert output =~ "run without nothing"
  end

  test "where they do not build they are left out, and not built again", %{path: path, tmp_dir: root} do
    stand_in(path, "mix", ~s|case $1 in deps.compile) echo "$1" >>#{root}/built; exit 1 ;; esac|)
    for _run <- 1..2, do: assert({_output, 0} = run(path, "bin/demo", [], []))
    assert File.read!(Path.join(root, "built")) == "deps.compile\n"
  end

  defp stand_in(path, name, body) do
    file = Path.join(path, name)
    File.rm(file)
    File.write!(file, "#!#{path}/bash\n#{body}\n")
    File.chmod!(file, 0o755)
  end

  defp lose(path, names), do: for(name <- names, do: File.rm!(Path.join(path, name)))

  defp offer(path, version) do
    stand_in(path, "apt-cache", "echo '  Candidate: #{version}'")
    stand_in(path, "apt-get", ~s|case $* in *install*) echo "$*" >#{path}/installed; #{installing(path)} ;; esac|)
  end

  # What apt is asked for is there afterwards.
  defp installing(path) do
    Enum.map_join(~w(cc elixir), "; ", fn tool ->
      ~s|if [ ! -e #{path}/#{tool} ]; then cat #{path}/erl >#{path}/#{tool}; chmod +x #{path}/#{tool}; fi|
    end)
  end

  defp run(path, command, arguments \\ [], settings \\ ["KANTOKU_DEPS_DIR=/none"]) do
    machine = ["-i", "PATH=#{path}", "HOME=#{path}", "SSL_CERT_FILE=none"]
    arguments = machine ++ settings ++ ["#{path}/bash", command | arguments]
    System.cmd("env", arguments, cd: Path.dirname(path), stderr_to_stdout: true)
  end

  # The first line tells that it began; the last is the one sentence.
  defp assert_refused(path, command, sentence) do
    {output, code} = run(path, command)
    assert code == 1
    assert [_began | rest] = String.split(output, "\n", trim: true)
    assert [last] = Enum.reject(rest, &(&1 =~ "asking apt"))
    assert last =~ sentence
    refute output =~ "touched"
    refute File.exists?(Path.join(path, "installed"))
  end
end
