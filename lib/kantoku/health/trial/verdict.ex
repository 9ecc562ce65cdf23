defmodule Kantoku.Health.Trial.Verdict do
  # Which class an agent is of, from what health said of it and nothing else: the table in `mix help kantoku.health.accuracy`. Pure.
  @moduledoc false

  alias Kantoku.Health.Trial.Parameters

  defstruct stuck: nil, probe: nil, crashed: false, signs: [], readings: []

  @type reading :: :idle | :busy | :waiting | :other

  @typedoc "`stuck`: the evidence; `probe`: the evidence of one that fails; `signs` of a risk, newest first; `readings` of one that is well."
  @type t :: %__MODULE__{stuck: map | nil, probe: term, crashed: boolean, signs: [term], readings: [reading]}

  @spec of(t) :: Parameters.class() | :other
  def of(%{probe: :timeout}), do: :slow_probe
  def of(%{stuck: %{waits_for: pid}}) when is_pid(pid), do: :deadlocked
  def of(%{stuck: %{doing: :stands}}), do: :standing
  def of(%{stuck: %{doing: :runs}}), do: :looping
  def of(%{stuck: %{}}), do: :other
  def of(%{crashed: true}), do: :killed

  # What waits in a mailbox is memory, too.
  def of(%{signs: [_ | _] = signs}) do
    cond do
      :mailbox in signs -> :flooded
      :memory in signs -> :leaking
      true -> :other
    end
  end

  def of(%{readings: []}), do: :other
  def of(%{readings: readings}), do: readings |> Enum.frequencies() |> Enum.max_by(&elem(&1, 1)) |> elem(0)

  @doc "One look at who is well: `Kantoku.Health.status/2` of an agent."
  @spec reading(map) :: reading
  def reading(%{state: :healthy, busy: nil}), do: :idle
  def reading(%{state: :healthy, busy: %{waits_for: :outside}}), do: :waiting
  def reading(%{state: :healthy, busy: %{over: over, waits_for: nil}}) when is_integer(over) and over <= 0, do: :busy
  def reading(_status), do: :other
end
