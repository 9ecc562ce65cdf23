defmodule Kantoku.Agent.Delivery do
  # Brings the outbox to the handler, one directive at a time. Knows couriers, nothing of stores.
  @moduledoc false

  alias Kantoku.Agent.{Courier, Holding, Redaction}
  alias Kantoku.Trace.Open
  require Logger

  @doc "Sends a courier with the first directive, if it is kept and none is on the way or waits for its next attempt."
  @spec proceed(Holding.t()) :: Holding.t()
  def proceed(
        %{pending: %{outbox: [{_id, revision, _directive} = entry | _], courier: nil, deliver_timer: nil} = pending} =
          holding
      )
      when revision <= pending.kept do
    pending = %{
      pending
      | courier: {send_courier(holding, entry), System.monotonic_time()},
        attempts: pending.attempts + 1
    }

    %{holding | pending: pending}
  end

  def proceed(holding), do: holding

  defp send_courier(%{config: config, pending: pending} = holding, {id, revision, directive}) do
    context = %{
      instance: config.instance,
      id: holding.id,
      module: config.module,
      server: self(),
      incarnation: holding.incarnation,
      revision: revision,
      attempt: pending.attempts + 1
    }

    handler = config.options.handler || config.module
    Courier.start(handler, directive, id, context, config.options.redact, pending.places[revision])
  end

  @doc "Where in a trace the first directive was made, if anywhere."
  @spec place(Holding.t()) :: Open.place() | nil
  def place(%{pending: %{outbox: [{_id, revision, _directive} | _], places: places}}), do: places[revision]

  @doc "Ends a delivery that is under way, with a server whose end its courier would not notice: it repeats it later."
  @spec recall(Holding.t()) :: :ok
  def recall(%{pending: %{courier: {courier, _started}}}) do
    Process.exit(courier, :kill)
    :ok
  end

  def recall(_holding), do: :ok

  @doc "The time for another attempt has come."
  @spec again(Holding.t()) :: Holding.t()
  def again(%{pending: nil} = holding), do: holding
  def again(%{pending: pending} = holding), do: proceed(%{holding | pending: %{pending | deliver_timer: nil}})

  @doc "The first directive was taken: the outbox without it. The caller makes that a revision."
  @spec delivered(Holding.t()) :: Holding.t()
  def delivered(
        %{pending: %{outbox: [{id, _revision, _directive} | rest], courier: {_pid, started}} = pending} = holding
      ) do
    measurements = %{duration: System.monotonic_time() - started, attempts: pending.attempts}
    Holding.emit(holding, [:agent, :directive, :delivered], measurements, %{directive_id: id})
    drop_first(holding, rest)
  end

  defp drop_first(%{pending: %{outbox: [{_id, revision, _directive} | _], places: places} = pending} = holding, rest) do
    places = if List.keymember?(rest, revision, 1), do: places, else: Map.delete(places, revision)
    %{holding | pending: %{pending | outbox: rest, courier: nil, attempts: 0, places: places}}
  end

  @doc """
  The first directive was not taken. `{:retry, holding}` if it is tried again, `{:drop, holding}` with the outbox without it, or
  `{:park, reason, holding}`.
  """
  @spec refused(Holding.t(), reason :: term) :: {:retry | :drop, Holding.t()} | {:park, term, Holding.t()}
  def refused(%{config: %{options: options}, pending: pending} = holding, reason) do
    holding = %{holding | pending: %{pending | courier: nil}}

    if pending.attempts < options.directive_attempts,
      do: {:retry, retry(holding, reason)},
      else: give_up(holding, reason)
  end

  defp retry(%{pending: %{outbox: [{id, _revision, _directive} | _]} = pending} = holding, reason) do
    pause = pause(holding.config.options.directive_backoff, pending.attempts)
    measurements = %{attempts: pending.attempts, retry_in: pause}
    Holding.emit(holding, [:agent, :directive, :retried], measurements, %{directive_id: id, reason: reason})
    if pending.attempts == 1, do: warn(holding, id, reason, pause)
    timer = Process.send_after(self(), {:"$kantoku", :deliver}, pause)
    %{holding | pending: %{pending | deliver_timer: timer}}
  end

  # Once per directive: what a subscriber sees of each attempt, a log should show of the first.
  defp warn(%{config: %{options: options}} = holding, id, reason, pause) do
    reason = if options.redact, do: Redaction.reason(reason), else: reason

    Logger.warning(
      "Kantoku: agent #{inspect(holding.id)} could not deliver directive #{id} (#{inspect(reason)}) and tries again in #{pause} ms"
    )
  end

  # Doubling with full jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
  defp pause({base, cap}, attempts) do
    :rand.uniform(min(cap, base * Integer.pow(2, min(attempts - 1, 30))))
  end

  defp give_up(
         %{config: %{options: options}, pending: %{outbox: [{id, _revision, _} | rest]} = pending} = holding,
         reason
       ) do
    metadata = %{directive_id: id, reason: reason, action: options.on_undeliverable}
    Holding.emit(holding, [:agent, :directive, :undeliverable], %{attempts: pending.attempts}, metadata)

    Logger.error(
      "Kantoku: agent #{inspect(holding.id)} could not deliver directive #{id} in #{pending.attempts} attempts " <>
        "and will #{options.on_undeliverable}"
    )

    case options.on_undeliverable do
      :drop -> {:drop, drop_first(holding, rest)}
      :park -> {:park, {:undeliverable, id, reason}, %{holding | pending: %{pending | attempts: 0}}}
    end
  end
end
