defmodule Bench.Jido.Add do
  @moduledoc false
  use Jido.Action, name: "add", schema: [by: [type: :integer, default: 1]]

  @impl true
  def run(%{by: by}, context), do: {:ok, %{total: context.state.total + by}}
end

defmodule Bench.Jido.Counter do
  @moduledoc false
  # An agent as a user of Jido writes it.
  use Jido.Agent,
    name: "counter",
    schema: [total: [type: :integer, default: 0]],
    signal_routes: [{"add", Bench.Jido.Add}]
end
