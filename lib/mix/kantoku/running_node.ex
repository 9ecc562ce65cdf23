defmodule Mix.Kantoku.RunningNode do
  # Asks a running node, for tasks that show what its instances say. Connects as a hidden node that nobody can connect to. Knows no question.
  @moduledoc false

  @switches [node: :string, cookie: :string, instance: :string]

  # For an answer of the node, in ms.
  @patience 10_000

  @doc "Prints a section for each instance of the node that the arguments of a task name, or for the one that they name."
  @spec print([String.t()], task :: String.t(), (node, instance :: atom -> String.t())) :: term
  def print(arguments, task, section) do
    options = parse!(arguments, task)
    node = node!(options)
    join!(node, options[:cookie])
    node |> instances!(options[:instance]) |> Enum.map_join("\n", &section.(node, &1)) |> Mix.shell().info()
  end

  @doc "Calls a function there."
  @spec ask!(node, module, atom, [term]) :: term
  def ask!(node, module, function, arguments) do
    :erpc.call(node, module, function, arguments, @patience)
  catch
    _kind, reason -> Mix.raise("#{node} has no answer (is Kantoku there, and not older?): #{inspect(reason)}")
  end

  defp parse!(arguments, task) do
    case OptionParser.parse(arguments, strict: @switches) do
      {options, [], []} -> options
      {_, _, [{option, value} | _]} -> Mix.raise("#{option}: unknown, or its value does not fit: #{inspect(value)}")
      {_, words, []} -> Mix.raise("expected options only, got: #{inspect(words)}. See mix help #{task}")
    end
  end

  defp node!(options) do
    case String.split(options[:node] || "", "@") do
      [name, host] when name != "" and host != "" -> String.to_atom(options[:node])
      _other -> Mix.raise("--node: expected NAME@HOST, got: #{inspect(options[:node])}")
    end
  end

  # The connection --------------------------------------------------------------------------------------------------------

  defp join!(node, cookie) do
    unless Node.alive?(), do: named!(domain(node))
    if cookie, do: Node.set_cookie(node, String.to_atom(cookie))

    Node.connect(node) == true ||
      Mix.raise("--node: #{node} does not answer; see that it runs, its name and its cookie")
  end

  defp domain(node), do: if(node |> Atom.to_string() |> String.contains?("."), do: :longnames, else: :shortnames)

  defp named!(domain) do
    name = :"kantoku_ask_#{System.pid()}"

    case :net_kernel.start(name, %{name_domain: domain, hidden: true, dist_listen: false}) do
      {:ok, _pid} -> :ok
      {:error, reason} -> Mix.raise("this node cannot be named, so it can ask no other: #{inspect(reason)}")
    end
  end

  # What it says -----------------------------------------------------------------------------------------------------------

  defp instances!(node, nil), do: node |> ask!(Kantoku.Instances, :names, []) |> Enum.sort() |> some!(node)
  defp instances!(_node, name), do: [Module.concat([name])]

  defp some!([], node), do: Mix.raise("no instance of Kantoku runs on #{node}")
  defp some!(names, _node), do: names
end
