defmodule Kantoku.Telemetry.Catalogue do
  # The events as data. Knows neither who emits them nor who listens.
  @moduledoc false

  alias Kantoku.Telemetry.Catalogue.{Guards, Lives, Pools}

  @type name :: [atom, ...]
  @type unit :: :native | :millisecond | :byte | :count | :revision | :unix_native
  @type event :: %{name: name, doc: String.t(), measurements: [{atom, unit}], metadata: [atom]}

  @events Lives.events() ++ Guards.events() ++ Pools.events()

  @doc "All events, in the order of the documentation."
  @spec all() :: [event]
  def all, do: @events

  @doc "How many events there are; their numbers run from 1 to this."
  @spec size() :: pos_integer
  def size, do: unquote(length(@events))

  @doc "The number of an event, or `nil` if the catalogue has none of that name."
  @spec number(name) :: pos_integer | nil
  for {event, number} <- Enum.with_index(@events, 1) do
    def number(unquote(event.name)), do: unquote(number)
  end

  def number(_name), do: nil

  @doc "The numbers of all events whose name starts with `prefix`."
  @spec numbers(prefix :: [atom]) :: [pos_integer]
  def numbers(prefix) do
    for {event, number} <- Enum.with_index(@events, 1), List.starts_with?(event.name, prefix), do: number
  end

  @doc "The catalogue as a Markdown table."
  @spec table() :: String.t()
  def table do
    header = "| event | when | measurements | metadata |\n|---|---|---|---|\n"
    header <> Enum.map_join(@events, "\n", &row/1)
  end

  defp row(event) do
    measurements = Enum.map_join(event.measurements, ", ", fn {name, unit} -> "`#{name}` (#{unit(unit)})" end)
    metadata = Enum.map_join(event.metadata, ", ", &"`#{&1}`")
    "| `#{inspect([:kantoku | event.name])}` | #{event.doc} | #{measurements} | #{metadata} |"
  end

  defp unit(:native), do: "native time unit"
  defp unit(:unix_native), do: "system time, native unit"
  defp unit(:millisecond), do: "ms"
  defp unit(:byte), do: "bytes"
  defp unit(other), do: Atom.to_string(other)
end
