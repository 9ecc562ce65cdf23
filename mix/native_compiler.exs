defmodule Mix.Tasks.Compile.KantokuNative do
  # Builds native/nif with cargo and installs the library where Kantoku.Native looks for it.
  #
  # Cargo's target lies beside the environments of the build path (`_build/cargo`), the library in the application's own
  # `priv` below it, so the source tree stays as it is. That has no `priv` itself: Mix would make the build's a link to it, and what is
  # built for tests would take the place of all else. The library is installed by a temporary file and a rename, under a name that carries
  # its hash: the system's loader hands back an old library for an old path.
  #
  #   KANTOKU_BUILD=0   no native library: the Elixir engine serves
  #   KANTOKU_NIF=PATH  install this library in place of building one
  #   KANTOKU_FEATURES=tls  build it so that it can send to https:// as well
  @moduledoc false
  use Mix.Task.Compiler

  @root Path.expand("..", __DIR__)
  @sources ~w(Cargo.toml Cargo.lock .cargo/config.toml native/*/Cargo.toml native/*/build.rs native/*/src/**/*.rs
              native/exporters/assets/**/*)

  @impl true
  def run(args) do
    cond do
      System.get_env("KANTOKU_BUILD") in ~w(0 false) -> remove()
      path = System.get_env("KANTOKU_NIF") -> install(path)
      "--force" not in args and manifest() == File.read(manifest_path()) and installed?() -> {:noop, []}
      true -> build()
    end
  end

  @impl true
  def manifests, do: [manifest_path()]

  @impl true
  def clean do
    remove()
    File.rm(manifest_path())
  end

  defp remove do
    File.rm_rf!(folder())
    {:noop, []}
  end

  # Building ---------------------------------------------------------------------------------------------------------

  defp build do
    cargo = System.find_executable("cargo") || Mix.raise(no_cargo())
    arguments = ["build", "--locked", "--package", "kantoku_nif"] ++ profile() ++ features()

    case System.cmd(cargo, arguments,
           cd: @root,
           env: [{"CARGO_TARGET_DIR", target()}],
           into: IO.stream(),
           stderr_to_stdout: true
         ) do
      {_, 0} -> install_built()
      {_, status} -> Mix.raise(failed(status))
    end
  end

  defp profile, do: if(Mix.env() == :prod, do: ["--release"], else: [])

  # The functions that fail on purpose are for Kantoku's own tests.
  defp features do
    own = if Mix.env() == :test, do: ["faults", "tls"], else: []
    Enum.flat_map(Enum.uniq(own ++ wanted()), &["--features", &1])
  end

  defp wanted do
    for name <- String.split(System.get_env("KANTOKU_FEATURES", ""), ",", trim: true) do
      name == "tls" || Mix.raise("KANTOKU_FEATURES: expected a list of features, of which there is tls, got: #{name}")
      name
    end
  end

  defp no_cargo do
    "Kantoku's native core is built with Rust 1.91 or newer, and no cargo was found on the PATH. Install Rust, or set " <>
      "KANTOKU_BUILD=0 to run on the Elixir engine"
  end

  defp failed(status) do
    "cargo could not build Kantoku's native core (exit #{status}): its messages are above. Set KANTOKU_BUILD=0 to run " <>
      "on the Elixir engine meanwhile"
  end

  defp install_built do
    result = install(Path.join([target(), if(Mix.env() == :prod, do: "release", else: "debug"), built_name()]))
    File.mkdir_p!(Path.dirname(manifest_path()))
    {:ok, manifest} = manifest()
    File.write!(manifest_path(), manifest)
    result
  end

  defp built_name do
    case :os.type() do
      {:unix, :darwin} -> "libkantoku_nif.dylib"
      _ -> "libkantoku_nif.so"
    end
  end

  defp target do
    System.get_env("CARGO_TARGET_DIR") || Path.join(Path.dirname(Mix.Project.build_path()), "cargo")
  end

  # Installing -------------------------------------------------------------------------------------------------------

  defp install(library) do
    bytes = File.read!(library)
    # Only to tell builds apart; :crypto is not at hand where Mix keeps to the project's own applications.
    hash = bytes |> :erlang.md5() |> Base.encode16(case: :lower) |> binary_part(0, 16)
    name = "kantoku_nif-#{hash}.so"
    make_folder()
    replaced = replace(name, bytes)
    replace("current", name)
    for old <- File.ls!(folder()), old not in [name, "current"], do: File.rm(Path.join(folder(), old))
    {replaced, []}
  end

  defp replace(name, bytes) do
    path = Path.join(folder(), name)

    if File.read(path) == {:ok, bytes} do
      :noop
    else
      temporary = path <> ".#{System.pid()}"
      File.write!(temporary, bytes)
      File.rename!(temporary, path)
      :ok
    end
  end

  defp folder, do: Path.join([Mix.Project.app_path(), "priv", "native"])

  # In a build of when the sources had a `priv`, it is a link that leads nowhere now.
  defp make_folder do
    priv = Path.dirname(folder())
    if match?({:ok, _}, File.read_link(priv)) and not File.exists?(priv), do: File.rm!(priv)
    File.mkdir_p!(folder())
  end

  defp installed? do
    case File.read(Path.join(folder(), "current")) do
      {:ok, name} -> File.exists?(Path.join(folder(), name))
      _ -> false
    end
  end

  # What was built -----------------------------------------------------------------------------------------------------

  defp manifest_path, do: Path.join(Mix.Project.manifest_path(), "compile.kantoku_native")

  defp manifest do
    files = @sources |> Enum.flat_map(&Path.wildcard(Path.join(@root, &1), match_dot: true)) |> Enum.sort()
    {:ok, inspect({Mix.env(), features(), Enum.map(files, &{&1, stamp(&1)})}, limit: :infinity)}
  end

  defp stamp(file) do
    stat = File.stat!(file, time: :posix)
    {stat.mtime, stat.size}
  end
end
