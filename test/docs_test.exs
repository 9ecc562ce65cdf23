for name <- ~w(figure front_page), do: Code.require_file("../bench/elixir/harness/#{name}.ex", __DIR__)

defmodule Kantoku.DocsTest do
  use ExUnit.Case, async: true

  alias Kantoku.DocsPage

  for path <- DocsPage.paths() do
    @path path

    test "#{path}: every command, link and file that it names is there" do
      page = DocsPage.read(@path)
      named = DocsPage.commands(page) ++ DocsPage.files(page)
      assert Enum.reject(named, &there?/1) == []
      assert Enum.reject(DocsPage.links(page), &File.exists?/1) == []
    end

    test "#{path}: every module, function and event that it names is there" do
      page = DocsPage.read(@path)
      assert Enum.reject(DocsPage.references(page), &known?/1) == []
      events = for event <- Kantoku.Telemetry.events(), do: [:kantoku | event.name]
      assert DocsPage.events(page) -- events == []
    end
  end

  test "the README's figures are those of bench/results" do
    %{text: readme} = DocsPage.read("README.md")
    names = File.read!(Path.join(DocsPage.root(), "bench/README.md"))
    assert Bench.FrontPage.fill(readme, Path.join(DocsPage.root(), "bench/results"), names) == readme
  end

  test "mix docs has every page, and every public module stands in a group" do
    docs = Mix.Project.config()[:docs]
    assert DocsPage.paths() -- docs[:extras] == []
    {:ok, modules} = :application.get_key(:kantoku, :modules)
    grouped = docs[:groups_for_modules] |> Keyword.values() |> List.flatten()
    assert Enum.reject(grouped -- modules, &left_out?/1) == []
    assert for(module <- modules, documented?(module), module not in [Kantoku | grouped], do: module) == []
  end

  test "every public function has a doc and a spec" do
    {:ok, modules} = :application.get_key(:kantoku, :modules)
    assert for(module <- modules, documented?(module), gap <- gaps(module), do: gap) == []
  end

  # A path with a star in it stands for all that it fits.
  defp there?(path), do: Path.wildcard(Path.join(DocsPage.root(), path), match_dot: true) != []

  defp known?({module, function, arity}) do
    Code.ensure_loaded?(module) and
      (function_exported?(module, function, arity) or macro_exported?(module, function, arity) or
         {function, arity} in callbacks(module))
  end

  defp known?(module),
    do:
      Code.ensure_loaded?(module) or left_out?(module) or
        Enum.any?(modules(), &List.starts_with?(&1, Module.split(module)))

  # Compiled only with Jido, or with Plug.
  defp left_out?(Kantoku.Plug), do: not Code.ensure_loaded?(Plug.Conn)

  defp left_out?(module),
    do: match?(["Kantoku", "Jido" | _], Module.split(module)) and not Code.ensure_loaded?(Kantoku.Jido.Server)

  defp modules do
    {:ok, modules} = :application.get_key(:kantoku, :modules)
    for module <- modules, match?("Elixir." <> _, Atom.to_string(module)), do: Module.split(module)
  end

  defp callbacks(module) do
    if function_exported?(module, :behaviour_info, 1), do: module.behaviour_info(:callbacks), else: []
  end

  # What is only there for tests or the demo is not part of the package.
  defp documented?(module) do
    source = to_string(module.module_info(:compile)[:source])

    case Code.fetch_docs(module) do
      {:docs_v1, _, _, _, :hidden, _, _} -> false
      {:docs_v1, _, _, _, _doc, _, _} -> source =~ ~r"/lib/kantoku(/|\.ex)"
      _none -> false
    end
  end

  defp gaps(module) do
    {:docs_v1, _, _, _, _, _, docs} = Code.fetch_docs(module)
    callbacks = for behaviour <- behaviours(module), callback <- behaviour.behaviour_info(:callbacks), do: callback
    {:ok, specs} = Code.Typespec.fetch_specs(module)
    specified = for {name_arity, _} <- specs, do: name_arity

    for {{kind, name, arity}, _, _, doc, _} <- docs,
        kind == :function and doc != :hidden and {name, arity} not in [{:child_spec, 1} | callbacks],
        problem <- problems(doc, {name, arity} in specified),
        do: {module, name, arity, problem}
  end

  defp behaviours(module), do: module.module_info(:attributes) |> Keyword.get_values(:behaviour) |> List.flatten()

  defp problems(doc, specified?) do
    for {true, problem} <- [{doc == :none, :no_doc}, {not specified?, :no_spec}], do: problem
  end
end

# Each page by itself, as they wait for what they show.
for path <- Kantoku.DocsPage.paths() do
  defmodule Module.concat(Kantoku.DocsTest, path |> Path.basename(".md") |> Macro.camelize()) do
    use ExUnit.Case, async: true

    alias Kantoku.DocsPage

    @path path

    # What it shows is there only with Jido.
    if path == "guides/jido.md", do: @moduletag(:jido)

    test "#{path}: every block of Elixir runs, one after the other" do
      @path |> DocsPage.read() |> DocsPage.run()
    end
  end
end
