defmodule Kantoku.Package do
  # What Hex would ship, laid out in a folder of its own, with a native library built from just that, and an empty app that
  # depends on it. What is built stays from run to run, beside the build.
  @moduledoc false

  @root Path.expand("../..", __DIR__)

  @doc "The files of the package, from the root."
  def files do
    for pattern <- Mix.Project.config()[:package][:files],
        path <- Path.wildcard(Path.join(@root, pattern), match_dot: true),
        file <- below(path),
        do: Path.relative_to(file, @root)
  end

  defp below(path) do
    if File.dir?(path),
      do: path |> Path.join("**") |> Path.wildcard(match_dot: true) |> Enum.reject(&File.dir?/1),
      else: [path]
  end

  @doc "Lays the package out and builds its library; where both are."
  def unpack! do
    folder = Path.join(base(), "kantoku")
    File.rm_rf!(folder)
    Enum.each(files(), &copy!(&1, folder))
    {folder, build!(folder)}
  end

  # With its time, so that what is unchanged is not built again.
  defp copy!(file, folder) do
    {from, to} = {Path.join(@root, file), Path.join(folder, file)}
    File.mkdir_p!(Path.dirname(to))
    File.cp!(from, to)
    File.touch!(to, File.stat!(from).mtime)
  end

  # As cargo builds it for development, which is sooner done than for release. Other builds write to the same place.
  defp build!(folder) do
    :global.trans({Kantoku.Variants, self()}, fn ->
      run!("cargo", ~w(build --locked --quiet --package kantoku_nif), folder, [{"CARGO_TARGET_DIR", target()}])
      [built] = Path.wildcard(Path.join(target(), "debug/libkantoku_nif.{so,dylib}"))
      library = Path.join(base(), "library.so")
      File.cp!(built, library)
      library
    end)
  end

  defp target, do: System.get_env("CARGO_TARGET_DIR") || beside_build("cargo")
  defp base, do: beside_build("package")
  defp beside_build(name), do: Path.join(Path.dirname(Mix.Project.build_path()), name)

  @doc "A new app that depends on the package in `folder`, with this as its only module."
  def new_app!(folder, code) do
    app = Path.join(base(), "host")
    File.rm_rf!(app)
    run!("mix", ["new", "host"], base(), environment())
    mix = Path.join(app, "mix.exs")
    before = File.read!(mix)

    with_dependency =
      String.replace(before, ~s(# {:dep_from_hexpm, "~> 0.3.0"},), "{:kantoku, path: #{inspect(folder)}}")

    true = with_dependency != before
    File.write!(mix, with_dependency)
    File.write!(Path.join(app, "lib/host.ex"), code)
    app
  end

  @doc "Runs a command in the app as in production, without Rust and without what this run of the tests is told; what it printed."
  def run_in!(app, command, arguments, variables),
    do: run!(command, arguments, app, environment() ++ [{"PATH", without_rust()} | variables])

  defp environment do
    told = for {name, _} <- System.get_env(), name =~ ~r/^(MIX_|KANTOKU_|ERL_|ELIXIR_|CARGO_)/, do: {name, nil}
    no_packages = Path.join(base(), "no-packages")
    File.mkdir_p!(no_packages)
    own = [{"MIX_ENV", "prod"}, {"MIX_BUILD_PATH", Path.join(base(), "build")}, {"KANTOKU_DEPS_DIR", no_packages}]
    Enum.reject(told, fn {name, _} -> List.keymember?(own, name, 0) end) ++ own
  end

  # Whoever asks for Rust meets these first, and fails.
  defp without_rust do
    hidden = Path.join(base(), "no-rust")
    File.mkdir_p!(hidden)

    for tool <- ~w(cargo rustc) do
      path = Path.join(hidden, tool)
      File.write!(path, "#!/bin/sh\necho there is no Rust here >&2\nexit 127\n")
      File.chmod!(path, 0o755)
    end

    hidden <> ":" <> System.fetch_env!("PATH")
  end

  @doc "Where `mix release` of the app leaves its command."
  def release, do: Path.join(base(), "build/rel/host/bin/host")

  defp run!(command, arguments, folder, environment) do
    case System.cmd(command, arguments, cd: folder, env: environment, stderr_to_stdout: true) do
      {printed, 0} -> printed
      {printed, status} -> raise "#{command} #{Enum.join(arguments, " ")} ended with #{status}:\n#{printed}"
    end
  end
end
