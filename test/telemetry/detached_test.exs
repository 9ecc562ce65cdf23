defmodule Kantoku.Telemetry.DetachedTest do
  # `:telemetry` is shared by all that run: not beside other tests.
  use ExUnit.Case, async: false

  @moduletag :telemetry

  import Kantoku.TestOwner, only: [eventually: 1, kill: 1]

  alias Kantoku.Telemetry
  alias Kantoku.Telemetry.Detached

  @event [:domain, :escalated]

  setup do
    on_exit(fn ->
      Telemetry.let_go(__MODULE__)
      apply(:telemetry, :detach, [__MODULE__])
    end)

    {:ok, ref} = Telemetry.subscribe(nil, events: [[:handler]])
    {:ok, ref: ref}
  end

  def handle(_name, _measurements, %{id: id}, test) do
    if id == :raise, do: raise("no")
    send(test, {:handled, id})
  end

  defp attach!, do: :ok = apply(:telemetry, :attach, [__MODULE__, [:kantoku | @event], &__MODULE__.handle/4, self()])

  defp emit(id), do: Telemetry.emit(:detached, @event, %{crashes: 1}, %{domain: :d, parent: nil, reason: :r, id: id})

  defp next(ref) do
    assert_receive {:kantoku_event, ^ref, [:kantoku, :handler, verb], measurements, metadata}
    {verb, measurements, metadata}
  end

  test "that :telemetry detached a handler of our events is told", %{ref: ref} do
    attach!()
    emit(:raise)
    assert {:failed, %{retry_in: :never}, %{handler: __MODULE__, action: :leave, instance: nil}} = next(ref)
    emit(1)
    refute_received {:handled, 1}
  end

  test "one that is kept is attached again, and given up when it fails too often", %{ref: ref} do
    attach!()
    assert Telemetry.keep_attached(__MODULE__, budget: [crashes: 1]) == :ok
    emit(:raise)
    assert {:failed, %{retry_in: 0}, %{action: :reattach, kind: :error, reason: %RuntimeError{}}} = next(ref)
    assert {:reattached, _, %{handler: __MODULE__}} = next(ref)
    emit(2)
    assert_receive {:handled, 2}

    emit(:raise)
    assert {:failed, %{retry_in: :never}, %{action: :give_up}} = next(ref)
    assert %{mode: :telemetry, failed: 2, status: :given_up} = Enum.find(Telemetry.handlers(), &(&1.id == __MODULE__))
  end

  test "one that is kept is there again after :telemetry was started anew, whoever of us was killed before" do
    attach!()
    assert Telemetry.keep_attached(__MODULE__) == :ok
    watcher = Process.whereis(Detached)
    kill(watcher)
    eventually(fn -> Process.whereis(Detached) not in [nil, watcher] end)
    ExUnit.CaptureLog.capture_log(fn -> :ok = Application.stop(:telemetry) end)
    :ok = Application.start(:telemetry)
    eventually(fn -> apply(:telemetry, :list_handlers, [[:kantoku | @event]]) != [] end)
    emit(3)
    assert_receive {:handled, 3}
  end

  test "who is not attached cannot be kept" do
    assert Telemetry.keep_attached({__MODULE__, :nobody}) == {:error, :not_found}
  end
end
