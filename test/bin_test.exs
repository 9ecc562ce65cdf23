defmodule Kantoku.BinTest do
  # Each test runs a command of bin/ on a machine made up of stand-ins: a folder that is the whole PATH.
  use ExUnit.Case, async: true

  @moduletag :tmp_dir
  @commands ~w(bin/test bin/demo bin/bench bin/soak)
  @borrowed ~w(bash env dirname basename sed cut sort head cat mktemp rm timeout)
  @oldest_rust File.read!("Cargo.toml") |> then(&Regex.run(~r/^rust-version = "(.+)"/m, &1)) |> List.last()

  setup %{tmp_dir: path} do
    for tool <- @borrowed, do: File.ln_s!(System.find_executable(tool), Path.join(path, tool))
    stand_in(path, "rustc", "echo rustc 99.0.0")
    stand_in(path, "cargo", "exit 0")
    stand_in(path, "cc", "exit 0")
    stand_in(path, "id", "echo 0")
    stand_in(path, "erl", "exit 0")
    stand_in(path, "elixir", "echo 99.0.0 99 /usr/lib/erlang")
    stand_in(path, "mix", "touched mix")
    stand_in(path, "rustup", "touched rustup")
    :ok
  end

  test "without a package manager that they know they say what to install", %{tmp_dir: path} do
    lose(path, ["elixir", "cc"])
    for command <- @commands, do: assert_refused(path, command, ~r/gcc .*elixir .*no apt-get/)
  end

  test "a machine that has everything needs no package manager", %{tmp_dir: path} do
    {output, _code} = run(path, "bin/demo")
    assert output =~ "touched mix"
    refute output =~ "apt-get"
  end

  test "a Rust that is too old is named beside the oldest that will do", %{tmp_dir: path} do
    stand_in(path, "rustc", "echo 'rustc 1.70.0 (90c541806 2023-05-31)'")
    for command <- @commands, do: assert_refused(path, command, ~r/Rust #{@oldest_rust} or newer .* this is 1\.70\.0/)
  end

  test "the oldest Rust that will do, does", %{tmp_dir: path} do
    stand_in(path, "rustc", "echo rustc #{@oldest_rust}.0")
    assert {output, _code} = run(path, "bin/demo")
    assert output =~ "touched mix"
  end

  test "Rust is asked for before anything is installed", %{tmp_dir: path} do
    lose(path, ["rustc", "elixir", "cc"])
    stand_in(path, "apt-get", "touched apt-get")
    for command <- @commands, do: assert_refused(path, command, ~r/Rust #{@oldest_rust} or newer .* none was found/)
  end

  test "an Elixir that is too old is named beside the oldest that will do", %{tmp_dir: path} do
    stand_in(path, "elixir", "echo 1.13.4 25 /usr/lib/erlang")
    for command <- @commands, do: assert_refused(path, command, ~r/Elixir 1\.14 or newer .* this is Elixir 1\.13\.4/)
  end

  test "so is an Erlang that is too old", %{tmp_dir: path} do
    stand_in(path, "elixir", "echo 1.14.5 24 /usr/lib/erlang")

    for command <- @commands,
        do: assert_refused(path, command, ~r/OTP 25 or newer .* this is Elixir 1\.14\.5 on OTP 24/)
  end

  test "an Elixir that apt would install, and that is too old, is not installed", %{tmp_dir: path} do
    lose(path, ["elixir"])
    offer(path, "1.12.2.dfsg-2")
    for command <- @commands, do: assert_refused(path, command, ~r/Elixir 1\.14 or newer .* apt offers 1\.12\.2/)
  end

  test "what is missing is installed through apt, with a line for each that says why", %{tmp_dir: path} do
    lose(path, ["elixir", "cc"])
    offer(path, "1.14.0.dfsg-2")
    {output, _code} = run(path, "bin/test")
    assert output =~ ~r/installing gcc: \w+/
    assert output =~ ~r/installing elixir: \w+/
    assert output =~ ~r/installing erlang-proper: \w+/
    assert File.read!(Path.join(path, "installed")) =~ ~r/install .*gcc libc6-dev .*elixir erlang-proper/
  end

  test "who is not root and has no sudo is told so", %{tmp_dir: path} do
    lose(path, ["elixir"])
    stand_in(path, "id", "echo 1000")
    stand_in(path, "apt-get", "touched apt-get")
    for command <- @commands, do: assert_refused(path, command, ~r/elixir.* only root can install/)
  end

  test "an Erlang of one's own is not mixed with apt's libraries", %{tmp_dir: path} do
    stand_in(path, "elixir", "echo 1.18.0 27 /opt/erlang proper")
    stand_in(path, "apt-get", "touched apt-get")
    assert_refused(path, "bin/test", ~r"proper is needed and the Erlang in /opt/erlang has none")
  end

  test "an argument that bin/test does not know is refused", %{tmp_dir: path} do
    assert {"bin/test: unknown argument" <> _, 1} = run(path, "bin/test", ["--fast"])
  end

  test "a folder given to bin/demo is meant from where its caller stands", %{tmp_dir: path} do
    stand_in(path, "mix", ~s(echo "mix $*"))
    {output, 0} = run(path, "bin/demo", ["texts", "--engine", "native", "--json", "more", "/abs"])
    from = File.cwd!()
    assert output =~ "mix kantoku.demo #{from}/texts --engine native --json #{from}/more /abs"
  end

  defp stand_in(path, name, body) do
    file = Path.join(path, name)
    File.rm(file)
    File.write!(file, "#!#{path}/bash\ntouched() { echo \"touched $1\"; exit 9; }\n#{body}\n")
    File.chmod!(file, 0o755)
  end

  defp lose(path, names), do: for(name <- names, do: File.rm!(Path.join(path, name)))

  defp offer(path, version) do
    stand_in(path, "apt-cache", "echo '  Candidate: #{version}'")
    stand_in(path, "apt-get", ~s|case $* in *install*) echo "$*" >#{path}/installed ;; esac|)
  end

  defp run(path, command, arguments \\ []) do
    settings = ["-i", "PATH=#{path}", "HOME=#{path}", "SSL_CERT_FILE=none", "KANTOKU_DEPS_DIR=#{path}/none"]
    System.cmd("env", settings ++ ["#{path}/bash", command | arguments], stderr_to_stdout: true)
  end

  # The first line tells that it began; the second is the one sentence.
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
