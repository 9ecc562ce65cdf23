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
      end
    end
  end

  @doc "Subscribes to an instance that does not run yet, and to what is of none; its name."
  def subscribed do
    name = :"covered_#{System.unique_integer([:positive])}"
    listen(name)
    {:ok, _} = Telemetry.subscribe(nil, events: [[:native]])
    name
  end

  @doc "Subscribes to an instance."
  def listen(name), do: {:ok, _} = Telemetry.subscribe(name, buffer: 100_000)

  @doc "An event of this instance, or of none, came as the catalogue has it."
  def assert_told(name, event) do
    %{measurements: measured, metadata: said} = Enum.find(Telemetry.events(), &(&1.name == event))
    {measurements, metadata} = told(name, event)
    assert {event, Enum.sort(Map.keys(measurements))} == {event, Enum.sort(Keyword.keys(measured))}
    assert {event, Enum.sort(Map.keys(metadata))} == {event, Enum.sort([:instance | said])}
  end

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
