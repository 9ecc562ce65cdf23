defmodule Kantoku.DemoConsole do
  @moduledoc "The demo's command, as a test calls it. Its modules are compiled by who needs them (`demo/load.exs`)."

  @doc """
  Runs the command; its exit code, and what it printed. It serves nothing unless told `--http`, as a VM has one listener, and the token of
  whoever runs the tests is their own.
  """
  @spec run([String.t()]) :: {0..2, String.t()}
  def run(argv) do
    test = self()
    argv = if "--http" in argv, do: argv, else: argv ++ ["--no-http"]
    output = ExUnit.CaptureIO.capture_io(fn -> send(test, {:demo, apply(Demo.Console, :run, [argv])}) end)

    receive do
      {:demo, code} -> {code, output}
    end
  end
end
