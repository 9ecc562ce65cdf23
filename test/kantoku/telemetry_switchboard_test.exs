defmodule Kantoku.TelemetrySwitchboardTest do
  # Kills a process that all instances share and stands in for `:telemetry`: not beside other tests.
  use ExUnit.Case, async: false

  alias Kantoku.Telemetry
  alias Kantoku.Telemetry.{Registrar, Switchboard}

  @event [:domain, :escalated]

  defp emit(instance), do: Telemetry.emit(instance, @event, %{crashes: 1}, %{domain: :d, parent: nil, reason: :r})

  defp wait_until(condition) do
    if not condition.() do
      receive do
      after
        1 -> wait_until(condition)
      end
    end
  end

  test "subscriptions outlive a crash of the registrar, and their subscribers are still watched after it" do
    {:ok, ref} = Telemetry.subscribe(:registrar_crash, events: [@event])
    registrar = Process.whereis(Registrar)
    Process.exit(registrar, :kill)
    wait_until(fn -> Process.whereis(Registrar) not in [nil, registrar] end)

    emit(:registrar_crash)
    assert_receive {:kantoku_event, ^ref, [:kantoku | @event], _, _}

    Telemetry.unsubscribe(ref)
    assert Switchboard.subscriptions() |> Enum.filter(&(elem(&1, 2) == :registrar_crash)) == []
  end

  test "with :telemetry in the system every event goes there too" do
    with_telemetry(self(), fn ->
      emit(:with_telemetry)
      assert_receive {:executed, [:kantoku | @event], %{crashes: 1}, %{instance: :with_telemetry, domain: :d}}
      assert Telemetry.listening?(@event)
    end)
  end

  defp with_telemetry(test, fun) do
    if Code.ensure_loaded?(:telemetry), do: attached(test, fun), else: stood_in(test, fun)
  end

  defp attached(test, fun) do
    report = fn name, measurements, metadata, _config -> send(test, {:executed, name, measurements, metadata}) end
    :telemetry |> apply(:attach, [self(), [:kantoku | @event], report, nil])
    fun.()
  after
    apply(:telemetry, :detach, [self()])
  end

  defp stood_in(test, fun) do
    :persistent_term.put(__MODULE__, test)

    code =
      quote do
        def execute(name, measurements, metadata) do
          send(:persistent_term.get(unquote(__MODULE__)), {:executed, name, measurements, metadata})
        end
      end

    Module.create(:telemetry, code, Macro.Env.location(__ENV__))
    Switchboard.refresh()
    fun.()
  after
    :code.delete(:telemetry)
    :code.purge(:telemetry)
    Switchboard.refresh()
  end
end
