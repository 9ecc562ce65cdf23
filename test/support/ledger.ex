defmodule Kantoku.Test.Ledger do
  @moduledoc false
  # An agent that knows how far each of its callers is, and notices a step that it missed or saw twice. Each third step of a caller is
  # paid for by a directive, in a journal outside, and told back.
  use Kantoku.Agent

  alias Kantoku.Test.Journal

  defstruct journal: nil, steps: %{}, paid: %{}, changes: 0, torn: [], ballast: ""

  @paid_each 3

  @impl true
  def new(fields), do: struct!(__MODULE__, fields)

  @impl true
  def cmd(ledger, {:step, caller, n}) do
    bills = if rem(n, @paid_each) == 0, do: [{:pay, ledger.journal, caller, n}], else: []
    {ledger |> advance(:steps, caller, n, 1) |> changed(), [{:reply, n} | bills]}
  end

  def cmd(ledger, {:paid, caller, n}), do: {ledger |> advance(:paid, caller, n, @paid_each) |> changed(), []}
  def cmd(ledger, {:load, bytes}), do: {changed(%{ledger | ballast: :rand.bytes(bytes)}), []}
  def cmd(ledger, {:stick, ms}), do: {ledger, [{:reply, Process.sleep(ms)}]}

  defp advance(ledger, field, caller, n, by) do
    seen = Map.fetch!(ledger, field)

    torn =
      if n == Map.get(seen, caller, 0) + by, do: ledger.torn, else: [{field, caller, seen[caller], n} | ledger.torn]

    %{ledger | torn: torn} |> Map.put(field, Map.put(seen, caller, n))
  end

  defp changed(ledger), do: %{ledger | changes: ledger.changes + 1}

  # Long enough to be killed at, before and after the world outside has heard of it.
  @impl true
  def handle_directive({:pay, journal, caller, n}, id, context) do
    Process.sleep(:rand.uniform(4) - 1)
    Journal.write(journal, [:paid, context.id, caller, n, id])
    Process.sleep(:rand.uniform(4) - 1)
    {:ok, {:paid, caller, n}}
  end

  @doc "What a caller who got to step `n` is to have paid."
  @spec due(non_neg_integer) :: non_neg_integer
  def due(n), do: n - rem(n, @paid_each)
end
