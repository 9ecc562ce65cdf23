defmodule Kantoku.DemoConsole do
  @moduledoc "The demo's command, as a test calls it. Its modules are compiled by who needs them (`demo/load.exs`)."

  @doc "Runs the command; its exit code, and what it printed."
  @spec run([String.t()]) :: {0..2, String.t()}
  def run(argv) do
    test = self()
    output = ExUnit.CaptureIO.capture_io(fn -> send(test, {:demo, apply(Demo.Console, :run, [argv])}) end)

    receive do
      {:demo, code} -> {code, output}
    end
  end
end
