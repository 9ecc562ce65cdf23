defmodule Kantoku.Pool.Scaling.Samples do
  # Readings that may take their time, so that they are taken by a process of their own: the memory of workers, as to ask a process
  # that runs may mean to wait for it; and metrics that are functions of users'.
  @moduledoc false

  alias Kantoku.Pool.Scaler.Policy

  # As many workers as are asked for their memory.
  @asked 8

  # For so many ms what was read counts.
  @fresh 5_000

  defstruct at: nil, readings: %{}

  @type t :: %__MODULE__{at: nil | integer, readings: %{atom => number | nil}}

  @doc "Whether a policy has any."
  @spec needed?(Policy.t()) :: boolean
  def needed?(%{metrics: metrics}), do: Enum.any?(metrics, &(&1.name == :memory or &1.read != nil))

  @doc "Takes them. May wait for a worker, and for as long as a user's function does."
  @spec take(Policy.t(), status :: map, [pid]) :: %{atom => number | nil}
  def take(policy, status, pids) do
    own = Policy.read(policy, status)

    if Enum.any?(policy.metrics, &(&1.name == :memory and &1.read == nil)),
      do: Map.put(own, :memory, memory(pids)),
      else: own
  end

  defp memory(pids) do
    case for pid <- Enum.take_random(pids, @asked), {:memory, bytes} <- [Process.info(pid, :memory)], do: bytes do
      [] -> nil
      found -> Enum.sum(found) / length(found)
    end
  end

  @doc "What counts of them at `now`."
  @spec fresh(t, integer) :: %{atom => number | nil}
  def fresh(%{at: at, readings: readings}, now) when is_integer(at) and now - at <= @fresh, do: readings
  def fresh(_samples, _now), do: %{}
end
