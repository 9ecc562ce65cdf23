defmodule Kantoku.Trace.ConfigTest do
  # Not async: looks at the variables of the system, and at the log.
  use ExUnit.Case, async: false
  import ExUnit.CaptureLog

  alias Kantoku.Trace.{Config, Environment}

  defp variables(map), do: Environment.options(&Map.get(map, &1))
  defp config(opts, map), do: Config.new!(opts, variables(map))

  test "nothing is traced unless the option or a sampler of the system says so" do
    assert config(nil, %{}) == nil
    assert config(nil, %{"OTEL_PROPAGATORS" => "tracecontext", "OTEL_TRACES_SAMPLER_ARG" => "1"}) == nil
    assert config(nil, %{"OTEL_TRACES_SAMPLER" => ""}) == nil
    assert %{sampler: {:parentbased, :always_on}} = config([], %{})
    assert %{sampler: {:always, :always_on}} = config(nil, %{"OTEL_TRACES_SAMPLER" => " always_on "})
    assert config(false, %{"OTEL_TRACES_SAMPLER" => "always_on"}) == nil
  end

  test "each sampler by its name, with its argument" do
    for {name, sampler} <- [
          {"always_on", {:always, :always_on}},
          {"always_off", {:always, :always_off}},
          {"traceidratio", {:always, {:below, trunc(2 ** 56 * 0.25)}}},
          {"parentbased_always_on", {:parentbased, :always_on}},
          {"parentbased_always_off", {:parentbased, :always_off}},
          {"parentbased_traceidratio", {:parentbased, {:below, trunc(2 ** 56 * 0.25)}}}
        ] do
      given = %{"OTEL_TRACES_SAMPLER" => name, "OTEL_TRACES_SAMPLER_ARG" => "0.25"}
      assert config(nil, given).sampler == sampler
    end

    assert config(nil, %{"OTEL_TRACES_SAMPLER" => "traceidratio"}).sampler == {:always, :always_on}
  end

  test "options win over variables" do
    given = %{
      "OTEL_TRACES_SAMPLER" => "traceidratio",
      "OTEL_TRACES_SAMPLER_ARG" => "0.5",
      "OTEL_SDK_DISABLED" => "TRUE"
    }

    assert config(nil, given) == nil
    assert config([sampler: :always_on], given) == nil
    assert config([disabled: false, ratio: 0.125], given).sampler == {:always, {:below, trunc(2 ** 56 * 0.125)}}
    assert config([], Map.put(given, "OTEL_SDK_DISABLED", "yes")).sampler == {:always, {:below, 2 ** 55}}
    assert config([propagators: []], %{"OTEL_PROPAGATORS" => "tracecontext"}).propagators == []
  end

  test "propagators: none, ours, and what is told and left out" do
    assert config([], %{"OTEL_PROPAGATORS" => "none"}).propagators == []
    assert config([], %{"OTEL_PROPAGATORS" => "tracecontext,baggage"}).propagators == [:tracecontext]

    log =
      capture_log(fn ->
        assert config([], %{"OTEL_PROPAGATORS" => "b3, tracecontext"}).propagators == [:tracecontext]
      end)

    assert log =~ ~s(OTEL_PROPAGATORS is left out) and log =~ "b3"
  end

  test "what a variable says that is no such thing is told and left out" do
    for given <- [
          %{"OTEL_TRACES_SAMPLER" => "sometimes"},
          %{"OTEL_TRACES_SAMPLER" => "traceidratio", "OTEL_TRACES_SAMPLER_ARG" => "1.5"},
          %{"OTEL_TRACES_SAMPLER" => "traceidratio", "OTEL_TRACES_SAMPLER_ARG" => "half"}
        ] do
      assert capture_log(fn -> refute variables(given)[:ratio] end) =~ "is left out"
    end
  end

  test "limits: each variable has its option, and no more than there may be" do
    variables = %{
      "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" => "5",
      "OTEL_SPAN_EVENT_COUNT_LIMIT" => "0",
      "OTEL_SPAN_LINK_COUNT_LIMIT" => "1000",
      "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" => "20",
      "OTEL_BSP_MAX_QUEUE_SIZE" => "77"
    }

    assert %{max_attributes: 5, max_events: 0, max_links: 128, max_value_length: 20, max_queue_size: 77} =
             config([], variables)

    assert config([], Map.put(variables, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "30")).max_value_length == 30
    assert config([max_attributes: 9], variables).max_attributes == 9
    assert %{max_attributes: 128, max_events: 128, max_links: 128, max_value_length: 4_096} = config([], %{})

    for wrong <- ["-1", "many", "1.5"] do
      log = capture_log(fn -> assert config([], %{"OTEL_SPAN_EVENT_COUNT_LIMIT" => wrong}).max_events == 128 end)
      assert log =~ "OTEL_SPAN_EVENT_COUNT_LIMIT is left out"
    end

    for {option, value} <- [max_events: 129, max_attributes: -1, max_links: :many, max_value_length: 0] do
      assert_raise ArgumentError, ~r/option #{inspect(option)}: expected an integer from/, fn ->
        config([{option, value}], %{})
      end
    end
  end

  test "errors and slow ones are kept, unless nothing is to be" do
    second = :erlang.convert_time_unit(1_000, :millisecond, :perf_counter)
    assert %{keep_errors: true, slow: ^second} = config([], %{})
    assert %{keep_errors: false, slow: nil} = config([sampler: :always_off], %{})
    assert %{keep_errors: true, slow: nil} = config([sampler: :always_off, keep_errors: true], %{})
    assert %{slow: nil} = config([keep_slow: :never], %{})
  end

  test "bad options are refused with what was expected" do
    for {opts, text} <- [
          {[sampler: :sometimes], "option :sampler: expected one of"},
          {[ratio: 2], "option :ratio: expected a number from 0 to 1"},
          {[unknown: 1], "unknown option :unknown"},
          {[propagators: [:b3]], "option :propagators"}
        ] do
      assert_raise ArgumentError, ~r/#{text}/, fn -> config(opts, %{}) end
    end
  end

  test "the variables are those of the system, read at the start of an instance" do
    System.put_env("OTEL_TRACES_SAMPLER", "always_on")
    on_exit(fn -> System.delete_env("OTEL_TRACES_SAMPLER") end)
    start_supervised!({Kantoku, name: __MODULE__.Traced, degradation: false})
    assert %{sampler: {:always, :always_on}} = Config.of(__MODULE__.Traced)
    stop_supervised!({Kantoku, __MODULE__.Traced})
    assert Config.of(__MODULE__.Traced) == nil
  end
end
