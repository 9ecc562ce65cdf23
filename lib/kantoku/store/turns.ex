defmodule Kantoku.Store.Turns do
  # What becomes of a store, as events and lines in the log. Knows no store.
  @moduledoc false
  require Logger

  alias Kantoku.Telemetry

  @type reason :: {kind :: atom, message :: String.t()}
  @type doing :: :read | :write
  @type turn ::
          {:set_aside, to :: String.t(), reason}
          | {:failed, doing, reason}
          | {:recovered, doing, failed_for :: non_neg_integer}

  @doc "Tells of the file of an instance's store."
  @spec tell(atom, String.t(), turn) :: :ok
  def tell(instance, path, {:set_aside, to, {_kind, message} = reason}) do
    Logger.error("Kantoku, #{inspect(instance)}: the store was set aside as #{to}, and agents begin afresh: #{message}")

    Telemetry.emit(instance, [:store, :set_aside], %{}, %{path: path, to: to, reason: reason})
  end

  def tell(instance, path, {:failed, doing, {_kind, message} = reason}) do
    Logger.error("Kantoku, #{inspect(instance)}: the store cannot #{doing}: #{message}")
    Telemetry.emit(instance, [:store, :failed], %{}, %{path: path, doing: doing, reason: reason})
  end

  def tell(instance, path, {:recovered, doing, failed_for}) do
    Logger.info("Kantoku, #{inspect(instance)}: the store can #{doing} again, #{path}, after #{failed_for} ms")
    Telemetry.emit(instance, [:store, :recovered], %{failed_for: failed_for}, %{path: path, doing: doing})
  end

  @doc "A store could not be closed."
  @spec not_closed(atom, module, term) :: :ok
  def not_closed(instance, store, reason) do
    Logger.error("Kantoku, #{inspect(instance)}: the store could not be closed: #{inspect(reason)}")
    Telemetry.emit(instance, [:store, :not_closed], %{}, %{store: store, reason: reason})
  end
end
