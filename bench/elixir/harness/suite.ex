defmodule Bench.Suite do
  @moduledoc false
  # A named list of stages.

  @callback name() :: String.t()
  @callback stages(Bench.Options.t()) :: [Bench.Stage.t()]

  @doc "Runs all stages of a suite that were asked for."
  @spec run(module, Bench.Options.t(), (Bench.Stage.outcome() -> term)) :: [Bench.Stage.outcome()]
  def run(suite, options, tell) do
    options
    |> suite.stages()
    |> Enum.map(&Bench.Stage.select(&1, options))
    |> Enum.reject(&is_nil/1)
    |> Enum.flat_map(&Bench.Stage.run(&1, options, tell))
  end
end
