defmodule Kantoku.Shipped do
  @moduledoc """
  What is shipped for Prometheus and Grafana, read as data.
  """

  alias Kantoku.JSONReader

  @doc "The file of alert rules."
  def rules, do: "ops/prometheus/rules.yml"

  @doc "What promtool shall find the rules to say."
  def rules_test, do: "test/promtool/rules.yml"

  @doc "The dashboard for Grafana."
  def dashboard, do: "ops/grafana/kantoku.json" |> File.read!() |> JSONReader.read!()

  @doc "All queries of the dashboard, its variables' among them, with values for Grafana's own variables."
  def queries do
    board = dashboard()
    targets = for panel <- board["panels"], target <- Map.get(panel, "targets", []), do: target["expr"]
    Enum.map(targets, &String.replace(&1, "$__rate_interval", "5m"))
  end

  @doc "Names of metrics that a text uses, as they are exported."
  def metrics(text),
    do: ~r/\b(?:kantoku|erlang_vm|process)_[a-z0-9_]+/ |> Regex.scan(text) |> List.flatten() |> Enum.uniq()
end
