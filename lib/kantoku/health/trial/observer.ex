defmodule Kantoku.Health.Trial.Observer do
  # Notes what health says of the agents of a trial, by events and by looking at those of whom it said nothing. Knows no label.
  @moduledoc false

  alias Kantoku.{Health, Telemetry}
  alias Kantoku.Health.Trial.Verdict

  @events [
    [:health, :restarting],
    [:health, :at_risk],
    [:health, :changed],
    [:health, :gap],
    [:agent, :crashed]
  ]
  @buffer 1_000_000

  @enforce_keys [:instance, :subscription]
  defstruct @enforce_keys ++ [seen: %{}, at: %{}, restarts: [], claims: %{}, gaps: 0, by_health: MapSet.new()]

  @typedoc """
  What was `seen` of each agent, and `at` which monotonic ms first something was that is not well; `restarts` by health, each with its
  time; when it `claims` that who is at risk is at its limit.
  """
  @type t :: %__MODULE__{
          instance: atom,
          subscription: term,
          seen: %{(id :: term) => Verdict.t()},
          at: %{(id :: term) => integer},
          restarts: [{id :: term, integer}],
          claims: %{(id :: term) => integer},
          gaps: non_neg_integer,
          by_health: MapSet.t(pid)
        }

  @spec new(atom) :: t
  def new(instance) do
    {:ok, subscription} = Telemetry.subscribe(instance, events: @events, buffer: @buffer)
    %__MODULE__{instance: instance, subscription: subscription}
  end

  @doc "Takes in what comes until a monotonic ms."
  @spec watch(t, integer) :: t
  def watch(%{subscription: subscription} = observer, until) do
    receive do
      {:kantoku_event, ^subscription, [:kantoku | name], measurements, metadata} ->
        Telemetry.ack(subscription)
        observer = note(observer, name, measurements, metadata)
        if now() < until, do: watch(observer, until), else: observer
    after
      max(until - now(), 0) -> observer
    end
  end

  # Killed for what was found; the crash that follows is no other.
  defp note(observer, [:health, :restarting], _measurements, %{id: id, pid: pid, evidence: evidence}) do
    observer = %{observer | restarts: [{id, now()} | observer.restarts], by_health: MapSet.put(observer.by_health, pid)}
    seen(observer, id, &%{&1 | stuck: &1.stuck || evidence})
  end

  defp note(observer, [:agent, :crashed], _measurements, %{id: id, pid: pid}) do
    if pid in observer.by_health, do: observer, else: seen(observer, id, &%{&1 | crashed: true})
  end

  defp note(observer, [:health, :at_risk], %{in: left}, %{id: id, sign: sign}) do
    observer = %{observer | claims: Map.put_new(observer.claims, id, now() + left)}
    seen(observer, id, &%{&1 | signs: [sign | &1.signs]})
  end

  defp note(observer, [:health, :changed], _measurements, %{of: {:agent, id}, to: :unhealthy}) do
    with {:ok, %{probes: probes}} <- Health.status(observer.instance, {:agent, id}),
         %{evidence: evidence} <- Enum.find(probes, &(&1.kind == :readiness and &1.verdict == :failing)) do
      seen(observer, id, &%{&1 | probe: evidence})
    else
      _stuck_or_down -> observer
    end
  end

  defp note(observer, [:health, :gap], _measurements, _metadata), do: %{observer | gaps: observer.gaps + 1}
  defp note(observer, _name, _measurements, _metadata), do: observer

  defp seen(observer, id, fun) do
    seen = Map.update(observer.seen, id, fun.(%Verdict{}), fun)
    %{observer | seen: seen, at: Map.put_new(observer.at, id, now())}
  end

  @doc "Looks at all of whom nothing was said."
  @spec look(t, [id :: term]) :: t
  def look(observer, ids) do
    Enum.reduce(ids, observer, fn id, observer ->
      if is_map_key(observer.at, id), do: observer, else: read(observer, id)
    end)
  end

  defp read(%{instance: instance, seen: seen} = observer, id) do
    reading =
      case Health.status(instance, {:agent, id}) do
        {:ok, status} -> Verdict.reading(status)
        {:error, _not_there} -> :other
      end

    add = &%{&1 | readings: [reading | &1.readings]}
    %{observer | seen: Map.update(seen, id, add.(%Verdict{}), add)}
  end

  @doc "What it takes an agent for."
  @spec verdict(t, id :: term) :: atom
  def verdict(%{seen: seen}, id), do: seen |> Map.get(id, %Verdict{}) |> Verdict.of()

  defp now, do: System.monotonic_time(:millisecond)
end
