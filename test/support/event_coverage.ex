defmodule Kantoku.EventCoverage do
  @moduledoc """
  Scenarios in which events are seen: each is a test that says which, and fails if one of them does not come as the catalogue has it.

      scenario "a drain", name, [[:drain, :start], [:drain, :stop]] do
        start!(name: name)
        ...
      end
  """
  import ExUnit.Assertions

  alias Kantoku.Telemetry

  @doc "A scenario; `name` is that of an instance whose events are heard, whether it runs yet or not."
  defmacro scenario(title, name, events, do: block) do
    quote do
      @covered unquote(events)

      test unquote(title) do
        unquote(name) = Kantoku.EventCoverage.subscribed()
        unquote(block)
        for event <- unquote(events), do: Kantoku.EventCoverage.assert_told(unquote(name), event)
        Kantoku.EventCoverage.check_others()
      end
    end
  end

  @doc "Subscribes to an instance that does not run yet, and to what is of none; its name."
  def subscribed do
    name = :"covered_#{System.unique_integer([:positive])}"
    listen(name)
    {:ok, _} = Telemetry.subscribe(nil, events: [[:native], [:discovery]])
    name
  end

  @doc "Subscribes to an instance."
  def listen(name), do: {:ok, _} = Telemetry.subscribe(name, buffer: 100_000)

  @doc "An event of this instance, or of none, came as the catalogue has it."
  def assert_told(name, event) do
    check(event, told(name, event))
  end

  @doc "An event of an instance that this starts, for a VM where nobody else is asked."
  def told_elsewhere(name, event) do
    listen(name)
    {:ok, _pid} = Kantoku.start_link(name: name)
    told(name, event)
  end

  @doc "Whatever else came, of this kind or of others, is as the catalogue has it."
  def check_others do
    receive do
      {:kantoku_event, _ref, [:kantoku | event], measurements, metadata} ->
        check(event, {measurements, metadata})
        check_others()
    after
      0 -> :ok
    end
  end

  @doc "What was told of an event is as the catalogue has it; the same again."
  def check(event, {measurements, metadata} = told) do
    %{measurements: measured, metadata: said} = Enum.find(Telemetry.events(), &(&1.name == event))
    assert {event, Enum.sort(Map.keys(measurements))} == {event, Enum.sort(Keyword.keys(measured))}
    assert {event, Enum.sort(Map.keys(metadata))} == {event, Enum.sort([:instance | said])}
    assert is_atom(metadata.instance)

    for {name, unit} <- measured, value = Map.fetch!(measurements, name) do
      assert measured?(unit, value), "#{inspect(event)} says #{name}: #{inspect(value)}, which is no #{unit}"
    end

    told
  end

  # The clock of this machine, give or take an hour, says whether it is in its unit.
  defp measured?(:unix_native, value),
    do: is_integer(value) and abs(value - System.system_time()) < System.convert_time_unit(3_600, :second, :native)

  # What will never be, as some waits, is said so.
  defp measured?(:millisecond, value) when value in [:never, :infinity], do: true
  defp measured?(_unit, value), do: is_integer(value) and value >= 0

  defp told(name, event) do
    receive do
      {:kantoku_event, _ref, [:kantoku | ^event], measurements, %{instance: of} = metadata} when of in [name, nil] ->
        {measurements, metadata}
    after
      10_000 -> flunk("#{inspect(event)} did not come")
    end
  end

  @doc "A probe's answer, which a test has put into a table."
  def answer(_pid, table), do: :ets.lookup_element(table, :answer, 2)
end

defmodule Kantoku.EventCoverage.Unclosable do
  @moduledoc "A store in memory that says it could not be closed."
  @behaviour Kantoku.Store

  alias Kantoku.Store.Memory

  @impl true
  defdelegate open(instance, opts), to: Memory
  @impl true
  defdelegate put(ref, key, version, bytes, reply_ref), to: Memory
  @impl true
  defdelegate get(ref, key), to: Memory
  @impl true
  defdelegate delete(ref, key, version), to: Memory
  @impl true
  defdelegate set_aside(ref, key), to: Memory
  @impl true
  defdelegate keys(ref, cursor, limit), to: Memory
  @impl true
  defdelegate flush(ref), to: Memory
  @impl true
  def close(_ref), do: {:error, :stubborn}
  @impl true
  defdelegate durable?(), to: Memory
end

defmodule Kantoku.EventCoverage.Deaf do
  @moduledoc "An agent that hears no plain messages."
  use Kantoku.Agent

  @impl true
  def new(_args), do: 0

  @impl true
  def cmd(count, :add), do: {count + 1, []}
end
