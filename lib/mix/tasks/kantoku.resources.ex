defmodule Mix.Tasks.Kantoku.Resources do
  @shortdoc "Shows what the agents of a running node use"

  @moduledoc """
  Asks a running node what its agents use of the machine, and prints it as tables.

      mix kantoku.resources --node NAME@HOST [--cookie COOKIE] [--instance MyApp.Agents]

  For each instance: the VM in a line, its domains and pools with their sums, and who has most of each kind (`Kantoku.Resources.report/2`).

  ## Options

    * `--node` - the node; it has to be named (`elixir --sname app -S mix`, or a release). With a dot in its host it is one of long names;
    * `--cookie` - its cookie; by default that of this user (`~/.erlang.cookie`);
    * `--instance` - only this one; all by default.

  It connects as a hidden node that nobody can connect to, and changes nothing.
  """

  use Mix.Task

  alias Mix.Kantoku.RunningNode

  @impl true
  def run(arguments), do: RunningNode.print(arguments, "kantoku.resources", &section/2)

  defp section(node, instance) do
    case RunningNode.ask!(node, Kantoku.Resources, :report, [instance]) do
      {:error, error} -> Mix.raise(Exception.message(error))
      text -> text
    end
  end
end
