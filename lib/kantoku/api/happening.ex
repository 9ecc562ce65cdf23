defmodule Kantoku.Api.Happening do
  # An event as the API shows it: times in seconds, terms as texts, reasons without data. Knows no listener.
  @moduledoc false

  alias Kantoku.Api.Shown
  alias Kantoku.Telemetry.Catalogue

  @units for event <- Catalogue.all(), into: %{}, do: {event.name, Map.new(event.measurements)}

  @doc "Its name without `kantoku`, as `pool.scaled`."
  @spec name([atom]) :: String.t()
  def name([:kantoku | name]), do: Enum.map_join(name, ".", &Atom.to_string/1)

  @doc "All of it, of now."
  @spec map([atom], map, map) :: map
  def map([:kantoku | plain] = name, measurements, metadata) do
    {instance, metadata} = Map.pop(metadata, :instance)
    units = Map.get(@units, plain, %{})

    %{
      at: Shown.now(),
      instance: Shown.text_or_nil(instance),
      event: name(name),
      measurements: Map.new(measurements, fn {name, value} -> {name, measured(value, units[name])} end),
      metadata: Shown.texts(metadata)
    }
  end

  @doc "A measurement in seconds where it is one of time; what is no number as text."
  @spec measured(term, atom) :: number | String.t()
  def measured(value, _unit) when not is_number(value), do: Shown.text(value)
  def measured(value, :native), do: System.convert_time_unit(value, :native, :nanosecond) / 1.0e9
  def measured(value, :unix_native), do: System.convert_time_unit(value, :native, :microsecond) / 1.0e6
  def measured(value, :millisecond), do: value / 1_000
  def measured(value, _unit), do: value
end
