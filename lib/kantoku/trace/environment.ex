defmodule Kantoku.Trace.Environment do
  # OpenTelemetry's variables of the operating system, as options. What a variable says that is no such thing is told and left out, as
  # the specification asks for. Decides nothing.
  @moduledoc false

  require Logger
  alias Kantoku.Trace.Sampler

  @samplers Map.new(Sampler.names(), &{Atom.to_string(&1), &1})
  @propagators %{"tracecontext" => :tracecontext, "none" => :none}

  # Of two for one option the first counts.
  @limits [
    {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", :max_attributes, 0, 128},
    {"OTEL_SPAN_EVENT_COUNT_LIMIT", :max_events, 0, 128},
    {"OTEL_SPAN_LINK_COUNT_LIMIT", :max_links, 0, 128},
    {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", :max_value_length, 1, 16_384},
    {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", :max_value_length, 1, 16_384},
    {"OTEL_BSP_MAX_QUEUE_SIZE", :max_queue_size, 1, 1_000_000}
  ]

  # Named by the standard as a default, and nothing that we carry.
  @silent ["baggage"]

  @doc "The options that the variables come to; of those that are not set, none."
  @spec options((String.t() -> String.t() | nil)) :: keyword
  def options(get \\ &System.get_env/1) do
    get = fn name -> with value when is_binary(value) <- get.(name), do: none_if_blank(String.trim(value)) end
    disabled(get.("OTEL_SDK_DISABLED")) ++ sampler(get) ++ propagators(get.("OTEL_PROPAGATORS")) ++ limits(get)
  end

  defp none_if_blank(""), do: nil
  defp none_if_blank(value), do: value

  # Only this one word is true.
  defp disabled(nil), do: []
  defp disabled(value), do: [disabled: String.downcase(value) == "true"]

  defp sampler(get) do
    case get.("OTEL_TRACES_SAMPLER") do
      nil -> []
      name -> named(String.downcase(name), get.("OTEL_TRACES_SAMPLER_ARG"))
    end
  end

  defp named(name, argument) do
    case @samplers do
      %{^name => sampler} -> [sampler: sampler] ++ ratio(sampler, argument)
      _none -> ignored("OTEL_TRACES_SAMPLER", name, Map.keys(@samplers))
    end
  end

  defp ratio(sampler, argument) when sampler in [:traceidratio, :parentbased_traceidratio] and argument != nil do
    case Float.parse(argument) do
      {ratio, ""} when ratio >= 0 and ratio <= 1 -> [ratio: ratio]
      _none -> ignored("OTEL_TRACES_SAMPLER_ARG", argument, ["a number from 0 to 1"])
    end
  end

  defp ratio(_sampler, _argument), do: []

  defp propagators(nil), do: []

  defp propagators(list) do
    names = list |> String.split(",") |> Enum.map(&(&1 |> String.trim() |> String.downcase()))

    for name <- names,
        name not in @silent,
        not is_map_key(@propagators, name),
        do: ignored("OTEL_PROPAGATORS", name, Map.keys(@propagators))

    known = for name <- names, propagator = @propagators[name], do: propagator
    [propagators: if(:none in known, do: [], else: Enum.uniq(known))]
  end

  defp limits(get),
    do: Enum.flat_map(@limits, fn {variable, option, least, most} -> limit(variable, get, option, least, most) end)

  defp limit(variable, get, option, least, most) do
    case get.(variable) do
      nil -> []
      value -> counted(variable, Integer.parse(value), value, option, least, most)
    end
  end

  # Who asks for more than there may be gets as many as there may be.
  defp counted(_variable, {count, ""}, _value, option, least, most) when count >= least,
    do: [{option, min(count, most)}]

  defp counted(variable, _other, value, _option, least, _most),
    do: ignored(variable, value, ["an integer, #{least} or more"])

  defp ignored(variable, value, expected) do
    Logger.warning("Kantoku: #{variable} is left out: expected #{Enum.join(expected, ", ")}, got: #{inspect(value)}")
    []
  end
end
