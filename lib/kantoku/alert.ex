defmodule Kantoku.Alert do
  @moduledoc """
  What somebody has to know of: rules over health, objectives, pools, breakers and events, and where they are told.

      {Kantoku,
       name: MyApp.Agents,
       alerts: [
         rules: [[name: :writers_wait, condition: {:pool, :writers, :queue, :above, 100}, for: 30_000, severity: :critical]],
         sinks: [:logger, {:alertmanager, url: "https://alerts.example.com", headers: [{"authorization", "Bearer …"}]}]
       ]}

  A rule is looked at again and again, by one process that waits for nobody. What it says is so of nothing, of one thing or of many: each
  is an alert with labels of its own. Its states are those of Prometheus:

    * *inactive*: it is not so; nothing is known of it;
    * `:pending`: it is so, and has not been for as long as the rule's `:for`;
    * `:firing`: it has, and everybody is told;
    * `:resolved`: it is not so any more (nor has been for `:keep_firing_for`), and everybody is told. Shown for 15 minutes.

  Time in which the VM stood still is not held against anybody, but for one interval.

  ## Options

  #{Kantoku.Alert.Config.docs()}

  `alerts: false` turns all of it off.

  ## Rules

  #{Kantoku.Alert.Rule.docs()}

  ## Conditions

  | condition | it is so | its labels |
  |---|---|---|
  | `{:health, of, states}` | while `of` (`:instance`, `:domains`, `:pools`, `{:domain, name}`, `{:pool, name}`, `{:agent, id}`) is in one of these states of `Kantoku.Health` | `domain`, `pool`, `agent` |
  | `{:breakers, states}`, `{:breaker, name, states}` | while a breaker is in one of these states of `Kantoku.Breaker` | `breaker` |
  | `{:pools, key, :above, number}`, `{:pool, name, key, :below, number}` | while that figure of `Kantoku.Pool.status/1` is (`:queue`, `:ongoing`, `:missing`, `:free`, `:ready`, `:workers`, `:abandoned`, `:tenants`, `:wait`, `:hold`) | `pool` |
  | `:burn_rates`, `{:burn_rate, objective}` | while a burn rate is too high over both of its windows (`Kantoku.SLO`) | `objective`, and the `severity` of the pair |
  | `{:budgets, percent}`, `{:budget, objective, percent}` | while less than that is left of an error budget | `objective` |
  | `:agents_parked` | while agents are parked, by domain | `domain` |
  | `:exporters_refused` | while `http:` or an exporter that the instance asks for cannot be started (`Kantoku.Exporters.status/0`) | `exporter` |
  | `{:store, :failing}` | while the store fails to read or write (`c:Kantoku.Store.standing/1`) | |
  | `{:store, :set_aside, ms}` | for so many ms after the store's file was damaged and set aside | |
  | `{:event, name, ms}` | for so many ms after each event of that name (`Kantoku.Telemetry`) | `domain`, `pool`, `breaker`, `exporter`, as the event has them |

  An agent's id is a label only where a rule names one agent. At most 1000 parked agents and 1000 things that events tell of are remembered.

  ## The default rules

  #{Kantoku.Alert.Defaults.docs()}

  ## Sinks

  Each has a line of its own and a process that takes from it. An attempt is a process, too, with a bound on its time; one that fails is
  made again. So a sink that is slow, dead or wrong costs nobody anything but its own line, whose bound drops and counts the oldest
  (`status/1`). What is told is told at least once, in order. What is in a line when the instance ends is not told.

  **`{:alertmanager, options}`** posts to the API v2 of a Prometheus Alertmanager. What fires is told again every `:resend` ms; silences,
  groups and receivers are Alertmanager's.

  #{Kantoku.Alert.Sink.docs(:alertmanager)}

  **`{:webhook, options}`** posts JSON: `{"version": 1, "instance": "MyApp.Agents", "alerts": [{"status": "firing", "labels": {"alertname":
  "writers_wait", "pool": "writers", …}, "annotations": {"summary": "…", "value": "120"}, "startsAt": "2026-01-01T00:00:00.000Z", "endsAt":
  null}]}`, up to 64 alerts at once; `status` is `firing` or `resolved`, and then `endsAt` is a time.

  #{Kantoku.Alert.Sink.docs(:webhook)}

  **`{:function, fun}`** or `{:function, run: fun, ...}` runs a function of one alert (`t:t/0`) in a process of its own. It has failed when it
  raises, or takes longer than `:timeout`.

  #{Kantoku.Alert.Sink.docs(:function)}

  **`:logger`** or `{:logger, options}` writes a line.

  #{Kantoku.Alert.Sink.docs(:logger)}

  Over `https:` the server has to show a certificate that the system trusts, or that of `:cacertfile`, for the name in the address. Redirects
  are not followed. An answer of 2xx is a success; 4xx but 408 and 429 is a refusal, and what was refused is dropped and counted. Addresses and headers are in no
  log, as they may hold tokens.

  Each change of a state is an event, `[:kantoku, :alert, :changed]`; each attempt that fails `[:kantoku, :alert, :undelivered]`; what is lost
  `[:kantoku, :alert, :dropped]`. All functions answer `{:error, %Kantoku.Error{}}`: `:not_running`, `:not_found` where there is no such
  rule, or alerts are off, and `:restarting`. See the guide "Objectives and alerts".
  """

  alias Kantoku.Alert.{Board, Condition, Config, Evaluator, Rule, State}
  alias Kantoku.Domain.Book
  alias Kantoku.{Error, Instances, Telemetry}

  @enforce_keys [:name, :state, :labels, :severity, :summary, :value, :since]
  defstruct @enforce_keys ++ [:fired_at, :resolved_at]

  @typedoc """
  `labels` tell one alert from another; `value` is what was found last; `since`, `fired_at` and `resolved_at` are ms of system time.
  """
  @type t :: %__MODULE__{
          name: atom | String.t(),
          state: :pending | :firing | :resolved,
          labels: %{String.t() => String.t()},
          severity: String.t(),
          summary: String.t(),
          value: term,
          since: integer,
          fired_at: integer | nil,
          resolved_at: integer | nil
        }

  @order %{firing: 0, pending: 1, resolved: 2}

  @doc "All alerts that are known of: firing ones first, then pending, then resolved; the newest first."
  @spec list(instance :: atom) :: {:ok, [t]} | {:error, Error.t()}
  def list(instance) do
    reading(instance, fn board, config ->
      alerts =
        for rule <- config.rules,
            {{_rule, labels}, state} <- Board.alerts(board, rule.name),
            do: new(rule, labels, state)

      {:ok, Enum.sort_by(alerts, &{@order[&1.state], -&1.since})}
    end)
  end

  @doc """
  What there is to tell, and whom: `rules`, their names, and `sinks`, each with its `kind` and title (`sink`), how many alerts are `queued`,
  were `delivered` and `dropped`, how many attempts were `retried`, and since when it cannot be told (`failing_since`, ms of system time, or `nil`).
  """
  @spec status(instance :: atom) :: {:ok, map} | {:error, Error.t()}
  def status(instance) do
    reading(instance, fn board, config ->
      {:ok, %{rules: Enum.map(config.rules, & &1.name), sinks: Enum.map(config.sinks, &Board.figures(board, &1))}}
    end)
  end

  defp reading(instance, fun) do
    Instances.reading(instance, fn _rows, book ->
      case {Book.seated(book, :alerts), Config.of(book)} do
        {board, %Config{} = config} when board != nil -> read(instance, board, config, fun)
        _off -> {:error, Error.new(:not_found, alert: {instance, nil})}
      end
    end)
  end

  defp read(instance, board, config, fun) do
    fun.(board, config)
  rescue
    error in ArgumentError ->
      if :ets.info(board, :id) == :undefined,
        do: {:error, Error.new(:restarting, alert: {instance, nil}, retry_in: 50)},
        else: reraise(error, __STACKTRACE__)
  end

  @doc """
  Adds a rule, or puts it in place of the one of that name, whose alerts are resolved. It holds until the instance ends. Raises
  `ArgumentError` on a bad option.

      :ok = Kantoku.Alert.put(MyApp.Agents, name: :model_down, condition: {:breaker, :model_api, :open}, for: 60_000)
  """
  @spec put(instance :: atom, keyword) :: :ok | {:error, Error.t()}
  def put(instance, opts) do
    rule = Rule.new!(opts)

    with :ok <- Evaluator.ask(instance, {:put, rule.name, rule}),
         do: Telemetry.emit(instance, [:alert, :rule_put], %{}, %{alert: rule.name})
  end

  @doc "Takes a rule away, default ones as well. Its alerts are resolved."
  @spec delete(instance :: atom, name :: atom | String.t()) :: :ok | {:error, Error.t()}
  def delete(instance, name) do
    with :ok <- Evaluator.ask(instance, {:delete, name}),
         do: Telemetry.emit(instance, [:alert, :rule_deleted], %{}, %{alert: name})
  end

  @doc false
  @spec new(Rule.t(), %{String.t() => String.t()}, State.t()) :: t
  def new(rule, labels, state) do
    fields = Map.take(state, [:state, :value, :since, :fired_at, :resolved_at])
    fixed = %{name: rule.name, labels: labels, severity: labels["severity"], summary: summary(rule)}
    struct!(__MODULE__, Map.merge(fields, fixed))
  end

  defp summary(%{summary: nil, condition: condition}), do: inspect(condition)
  defp summary(%{summary: summary}), do: summary

  @doc "An alert as one line for people."
  @spec sentence(t) :: String.t()
  def sentence(alert) do
    labels =
      for {name, value} <- Map.drop(alert.labels, ~w(alertname severity kantoku_instance)), do: " #{name}=#{value}"

    "alert #{alert.name} (#{alert.severity}) is #{alert.state}:#{labels} #{alert.summary} (#{Condition.text(alert.value)})"
  end
end
