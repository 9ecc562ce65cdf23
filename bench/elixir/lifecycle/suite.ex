defmodule Bench.Lifecycle do
  @moduledoc false
  # The benchmarks of agents' lives: started, crashed, recovered, idle.
  @behaviour Bench.Suite

  alias Bench.Stage
  alias Bench.Lifecycle.{Fleet, Memory, Plain, Recover, Start, Storm}

  @impl true
  def name, do: "lifecycle"

  @impl true
  def stages(options) do
    for items <- [Start.items(options), Storm.items(options), Recover.items(options)] do
      %Stage{build: fn -> open(options) end, clear: &close/1, items: items}
    end ++ [%Stage{items: Memory.items(options)}]
  end

  defp open(%{control: true}), do: %{plain: Plain.open(), fleet: nil}
  defp open(options), do: %{plain: Plain.open(), fleet: Fleet.open(options)}

  defp close(%{plain: plain, fleet: fleet}) do
    Plain.close(plain)
    if fleet, do: Fleet.close(fleet)
  end
end
