defmodule Kantoku.PackageTest do
  use ExUnit.Case, async: true

  alias Kantoku.Package

  # Compiles Kantoku for production.
  @moduletag timeout: 600_000

  @three_lines """
  defmodule Host do
    def run do
      {:ok, _} = Kantoku.start_link(name: Host.Agents)
      {:ok, _} = Kantoku.start_agent(Host.Agents, {Agent, fn -> :served end}, id: "one")
      {Agent.get({:via, Kantoku.Registry, {Host.Agents, "one"}}, & &1), Kantoku.Engine.kind(Host.Agents)}
    end
  end
  """

  setup_all do
    {folder, library} = Package.unpack!()
    %{app: Package.new_app!(folder, @three_lines), native: [{"KANTOKU_NIF", library}]}
  end

  test "as a dependency of an empty app it compiles without a warning and runs", %{app: app, native: native} do
    printed = Package.run_in!(app, "mix", ["run", "-e", "IO.inspect(Host.run())"], native)
    assert printed =~ "{:served, :native}"
    refute printed =~ "warning:"
  end

  test "a release of that app starts and serves natively where there is no Rust", %{app: app, native: native} do
    Package.run_in!(app, "mix", ["release", "--overwrite", "--quiet"], native)
    start = "{:ok, _} = Application.ensure_all_started(:host); IO.inspect(Host.run())"
    assert Package.run_in!(app, Package.release(), ["eval", start], []) =~ "{:served, :native}"
  end

  test "without cargo it says what is needed, or serves from the Elixir engine if told so", %{app: app} do
    run = ["run", "-e", "IO.inspect(Host.run())"]
    assert Package.run_in!(app, "mix", run, [{"KANTOKU_BUILD", "0"}]) =~ "{:served, :elixir}"
    error = assert_raise RuntimeError, fn -> Package.run_in!(app, "mix", run, []) end
    assert error.message =~ "there is no Rust here"
    assert error.message =~ "Set KANTOKU_BUILD=0 to run on the Elixir engine"
    error = assert_raise RuntimeError, fn -> Package.run_in!(app, "mix", run, [{"KANTOKU_FEATURES", "ssl"}]) end
    assert error.message =~ "KANTOKU_FEATURES: expected a list of features, of which there is tls, got: ssl"
  end

  test "the package has every page of the documentation, and nothing that was built" do
    files = Package.files()
    assert Enum.map(Mix.Project.config()[:docs][:extras], &page/1) -- files == []
    assert Enum.filter(files, &(&1 =~ ~r{(^|/)(_build|target|priv/native|deps)/|\.(so|beam)$})) == []
  end

  test "what is built stays out of the sources" do
    assert {:error, _not_a_link} = :kantoku |> Application.app_dir("priv") |> File.read_link()
    assert Path.wildcard("{priv,lib,mix,native,ops,test}/**/*.{so,so.*,beam}") == []
  end

  defp page({path, _options}), do: Atom.to_string(path)
  defp page(path), do: path
end
