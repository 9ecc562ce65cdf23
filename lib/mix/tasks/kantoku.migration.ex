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

  alias Mix.Kantoku.RunningNode

  @impl true
  def run(arguments), do: RunningNode.print(arguments, "kantoku.migration", &section/2)

  defp section(node, instance) do
    case RunningNode.ask!(node, Kantoku.Migration, :table, [instance]) do
      {:ok, table} -> "#{inspect(instance)}\n#{table}"
      {:error, error} -> Mix.raise(Exception.message(error))
    end
  end
end
