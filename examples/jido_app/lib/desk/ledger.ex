defmodule Desk.Ledger do
  @moduledoc "Counts what was answered and what was not."

  defmodule Count do
    @moduledoc false
    use Jido.Action,
      name: "count",
      description: "Counts a question",
      schema: [answered: [type: :boolean, required: true]]

    @impl true
    def run(%{answered: true}, %{state: %{answered: count}}), do: {:ok, %{answered: count + 1}}
    def run(%{answered: false}, %{state: %{open: count}}), do: {:ok, %{open: count + 1}}
  end

  use Jido.Agent,
    name: "ledger",
    category: "desk",
    schema: [answered: [type: :non_neg_integer, default: 0], open: [type: :non_neg_integer, default: 0]],
    signal_routes: [{"count", Desk.Ledger.Count}]
end
