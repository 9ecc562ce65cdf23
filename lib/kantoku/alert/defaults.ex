defmodule Kantoku.Alert.Defaults do
  # The rules that every instance has unless it is told otherwise.
  @moduledoc false

  alias Kantoku.Alert.Rule

  @minute 60_000

  @rules [
    [
      name: :instance_unhealthy,
      condition: {:health, :instance, :unhealthy},
      for: @minute,
      severity: :critical,
      summary: "the instance does not serve"
    ],
    [
      name: :domain_unhealthy,
      condition: {:health, :domains, :unhealthy},
      for: @minute,
      summary: "too few agents of a domain serve"
    ],
    [
      name: :pool_unhealthy,
      condition: {:health, :pools, :unhealthy},
      for: @minute,
      severity: :critical,
      summary: "too few workers of a pool serve"
    ],
    [
      name: :breaker_open,
      condition: {:breakers, [:open, :half_open]},
      for: 5 * @minute,
      summary: "a breaker refuses calls, and has not found that it may close"
    ],
    [
      name: :agents_parked,
      condition: :agents_parked,
      summary: "agents crashed too often and wait for Kantoku.unpark/2, or their timers"
    ],
    [
      name: :store_set_aside,
      condition: {:store, :set_aside, 60 * @minute},
      severity: :critical,
      summary: "the store's file was damaged and set aside: agents begin afresh"
    ],
    [
      name: :store_failing,
      condition: {:store, :failing},
      for: @minute,
      severity: :critical,
      summary: "the store cannot read or write"
    ],
    [
      name: :exporter_refused,
      condition: :exporters_refused,
      summary: "an exporter or the listener of http: cannot be started"
    ],
    [
      name: :exporter_drops,
      condition: {:event, [:exporter, :dropped], 2 * @minute},
      summary: "an exporter drops what it cannot send"
    ],
    [name: :error_budget_burn, condition: :burn_rates, summary: "an error budget is used up too fast"]
  ]

  @names Enum.map(@rules, & &1[:name])

  @doc "Those that are not turned off."
  @spec rules(boolean | keyword(boolean)) :: [Rule.t()]
  def rules(false), do: []
  def rules(true), do: rules([])
  def rules(off), do: for(rule <- @rules, Keyword.get(off, rule[:name], true), do: Rule.new!(rule))

  @doc "Whether it says which of them are wanted."
  @spec choice?(term) :: boolean
  def choice?(choice) when is_boolean(choice), do: true

  def choice?(choice) do
    Keyword.keyword?(choice) and
      Enum.all?(choice, fn {name, wanted} -> name in @names and is_boolean(wanted) end)
  end

  @doc "The rules as a Markdown table."
  @spec docs() :: String.t()
  def docs do
    "| rule | condition | for | severity |\n|---|---|---|---|\n" <>
      Enum.map_join(@rules, "\n", fn options ->
        rule = Rule.new!(options)
        severity = if rule.condition == :burn_rates, do: "the objective's", else: "`#{inspect(rule.severity)}`"
        "| `#{inspect(rule.name)}` | `#{inspect(rule.condition)}` | #{div(rule.for, 1_000)} s | #{severity} |"
      end)
  end
end
