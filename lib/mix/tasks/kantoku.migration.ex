defmodule Mix.Tasks.Kantoku.Migration do
  @shortdoc "Shows what a running node is moving over to Kantoku"

  @moduledoc """
  Asks a running node what it is moving over to Kantoku, and prints it as a table.

      mix kantoku.migration --node NAME@HOST [--cookie COOKIE] [--instance MyApp.Agents]

  One table for each instance, one line for each feature and subject: its mode, who set it and when, how many agents are on which
  side, how often the shadow agreed, the calls on either side of a canary, and why one went back (`Kantoku.Migration.status/1`).

  ## Options

    * `--node` - the node; it has to be named (`elixir --sname app -S mix`, or a release). With a dot in its host it is one of long names;
    * `--cookie` - its cookie; by default that of this user (`~/.erlang.cookie`);
    * `--instance` - only this one; all by default.

  It connects as a hidden node that nobody can connect to, and changes nothing. To change a mode, call
  `Kantoku.Migration.set/5` in a remote shell.
  """

  use Mix.Task

  @switches [node: :string, cookie: :string, instance: :string]

  # For an answer of the node, in ms.
  @patience 10_000

  @impl true
  def run(arguments) do
    options = parse!(arguments)
    node = node!(options)
    join!(node, options[:cookie])
    node |> instances!(options[:instance]) |> Enum.map_join("\n", &section(node, &1)) |> Mix.shell().info()
  end

  defp parse!(arguments) do
    case OptionParser.parse(arguments, strict: @switches) do
      {options, [], []} -> options
      {_, _, [{option, value} | _]} -> Mix.raise("#{option}: unknown, or its value does not fit: #{inspect(value)}")
      {_, words, []} -> Mix.raise("expected options only, got: #{inspect(words)}. See mix help kantoku.migration")
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
    name = :"kantoku_migration_#{System.pid()}"

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

  defp section(node, instance) do
    case ask!(node, Kantoku.Migration, :table, [instance]) do
      {:ok, table} -> "#{inspect(instance)}\n#{table}"
      {:error, error} -> Mix.raise(Exception.message(error))
    end
  end

  defp ask!(node, module, function, arguments) do
    :erpc.call(node, module, function, arguments, @patience)
  catch
    _kind, reason -> Mix.raise("#{node} has no answer (is Kantoku there, and not older?): #{inspect(reason)}")
  end
end
