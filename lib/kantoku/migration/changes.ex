defmodule Kantoku.Migration.Changes do
  # Changing a mode, by a person or by a verdict, and all that follows from it. Knows no process by name but those it wakes.
  @moduledoc false

  alias Kantoku.Migration.{Clerk, Journal, Judge, Mode, Mover, Reversal, Settings}
  alias Kantoku.{Options, Telemetry}

  @doc "See `Kantoku.Migration.set/5`."
  @spec set(Settings.key(), Mode.t(), keyword) :: :ok | {:error, term}
  def set({instance, _feature, _subject} = key, mode, opts) do
    {by, given} = Keyword.pop(opts, :by)
    given = Options.validate_given!(given, Judge.schema(), "Kantoku.Migration.set/5")
    {before, setting} = Settings.change(key, &changed(&1, mode, by, instance, given))
    follow(key, before, setting, by)
    Settings.save(instance)
  end

  defp changed(before, mode, by, instance, given) do
    rules = if before, do: before.rules, else: Settings.rules(instance)

    %{
      mode: mode,
      by: by,
      at: System.system_time(:millisecond),
      source: :run_time,
      option: before && before.option,
      rules: Map.merge(rules, given),
      reversal: nil
    }
  end

  @doc "See `Kantoku.Migration.reset/3`."
  @spec reset(Settings.key()) :: :ok | {:error, term}
  def reset({instance, _feature, _subject} = key) do
    before = Settings.reset(key)
    {_gate, _version, setting} = Settings.fetch(key) || {nil, nil, %{mode: :off}}
    follow(key, before, setting, :option)
    Settings.save(instance)
  end

  @doc "Takes a canary back, unless somebody has changed it meanwhile."
  @spec revert(Settings.key(), Reversal.t(), :off | :shadow) :: :ok | {:error, term}
  def revert({instance, feature, subject} = key, reversal, mode) do
    {before, setting} = Settings.change(key, &reverted(&1, reversal, mode))

    if before != setting do
      measurements = Map.take(setting.reversal, [:canary_samples, :control_samples])
      metadata = %{feature: feature, subject: subject, to: mode, reason: setting.reversal}
      Telemetry.emit(instance, [:migration, :reverted], measurements, metadata)
      follow(key, before, setting, :canary)
    end

    Settings.save(instance)
  end

  defp reverted(%{mode: {:canary, _percent} = from} = setting, reversal, mode) do
    at = System.system_time(:millisecond)
    reversal = %{reversal | from: from, at: at}
    %{setting | mode: mode, by: :canary, at: at, source: :run_time, reversal: reversal}
  end

  defp reverted(_changed_meanwhile, _reversal, _mode), do: :keep

  defp follow({instance, feature, subject} = key, before, setting, by) do
    from = if before, do: before.mode, else: :off
    if setting.mode == :shadow and from != :shadow, do: Journal.clear(key)

    if from != setting.mode do
      metadata = %{feature: feature, subject: subject, from: from, to: setting.mode, by: by}
      Telemetry.emit(instance, [:migration, :changed], %{}, metadata)
    end

    Clerk.wake()
    if feature in [:supervision, :registry], do: Mover.settle(instance, subject)
    :ok
  end
end
