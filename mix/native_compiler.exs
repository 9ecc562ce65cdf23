defmodule Mix.Tasks.Compile.KantokuNative do
  @moduledoc false
  use Mix.Task.Compiler

  @impl true
  def run(_args), do: {:noop, []}
end
