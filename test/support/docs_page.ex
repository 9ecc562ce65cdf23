defmodule Kantoku.DocsPage do
  # A page of documentation: what it says in code, and what it says is there. Knows nothing of what Kantoku does.
  @moduledoc false

  @enforce_keys [:path, :text]
  defstruct @enforce_keys

  @root Path.expand("../..", __DIR__)

  @doc "All pages, as paths from the root."
  def paths do
    guides = Path.wildcard(Path.join(@root, "guides/*.md"))
    ~w(README.md ARCHITECTURE.md CHANGELOG.md usage-rules.md) ++ Enum.map(guides, &Path.relative_to(&1, @root))
  end

  def read(path), do: %__MODULE__{path: path, text: File.read!(Path.join(@root, path))}

  def root, do: @root

  @doc "The blocks of Elixir in order, each with the line on which it begins."
  def snippets(%{text: text}) do
    for [{at, _}, {from, length}] <- Regex.scan(~r/^```elixir\n(.*?)^```$/ms, text, return: :index) do
      {line(text, at) + 1, binary_part(text, from, length)}
    end
  end

  defp line(text, at), do: text |> binary_part(0, at) |> String.split("\n") |> length()

  @doc """
  Runs the page as a reader would: block after block in one shell. `MyApp` becomes a name of the page's own, so that pages
  may run side by side.
  """
  def run(page) do
    Enum.reduce(snippets(page), [], fn {line, code}, binding ->
      {_value, binding} = evaluated(renamed(code, page), binding, page.path, line)
      binding
    end)
  end

  # What fails in evaluated code has no line of its own.
  defp evaluated(code, binding, path, line) do
    Code.eval_string(code, binding, file: path, line: line)
  rescue
    error in MatchError -> reraise "#{path}, block at line #{line}: #{Exception.message(error)}", __STACKTRACE__
  end

  defp renamed(code, %{path: path}) do
    name = path |> Path.basename(".md") |> String.replace("-", "_") |> Macro.camelize()
    String.replace(code, ~r/\bMyApp\b/, "Docs.#{name}")
  end

  @doc "The page without its blocks of code."
  def prose(%{text: text}), do: Regex.replace(~r/^```.*?^```$/ms, text, "")

  @doc "Commands of ours that the page names, as paths from the root."
  def commands(%{text: text}),
    do: ~r{(?<![\w./-])(?:bin|\.ci)/[a-z_-]+} |> Regex.scan(text) |> List.flatten() |> Enum.uniq()

  @doc "Where the links of the page lead, if that is in this project."
  def links(%{path: path} = page) do
    for [_, target] <- Regex.scan(~r/\]\(([^)#\s]+)(?:#[^)]*)?\)/, page.text), not (target =~ ~r/^[a-z]+:/) do
      Path.expand(target, Path.dirname(Path.join(@root, path)))
    end
  end

  @doc "Paths that stand between backticks."
  def files(page) do
    for [_, path] <- Regex.scan(~r{`((?:lib|native|rust_tests|test|bench|mix|guides|demo|\.ci)/[^`\s]*)`}, prose(page)),
        do: path
  end

  @doc "Modules and functions of ours that stand between backticks, as `{module, function, arity}` or `module`."
  def references(page) do
    for [_, name] <- Regex.scan(~r/`[a-z]?:?(Kantoku(?:\.\w+)*[?!]?(?:\/\d)?)`/, prose(page)),
        uniq: true,
        do: reference(name)
  end

  defp reference(name) do
    case Regex.run(~r{^(.+)\.([a-z_0-9]+[?!]?)/(\d)$}, name) do
      [_, module, function, arity] ->
        {Module.concat([module]), String.to_atom(function), String.to_integer(arity)}

      nil ->
        Module.concat([name])
    end
  end

  @doc "Names of events that the page mentions, with the leading `:kantoku`."
  def events(%{text: text}) do
    for [name] <- Regex.scan(~r/\[:kantoku(?:, :\w+)+\]/, text), uniq: true, do: name |> Code.eval_string() |> elem(0)
  end
end
