defmodule Kantoku.Breaker.Changes do
  # What becomes of a change of state: whoever's call made it tells the others. Knows no rule of breakers.
  @moduledoc false

  alias Kantoku.Breaker.{Clerk, Config, Notes}
  alias Kantoku.{Instances, Telemetry}

  @doc "The bare answer of the engine, after what changed with it was told. Raises `ArgumentError` if the instance has ended."
  @spec told(term, Kantoku.Breaker.t(), :ets.tid() | nil) :: term
  def told(answer, breaker, book \\ nil)

  def told({:changed, changes, answer}, {instance, name} = breaker, book) do
    Enum.each(changes, &emit(&1, breaker))
    if book = book || book(instance), do: next_look(book, name)
    answer
  end

  def told(answer, _breaker, _book), do: answer

  defp emit({from, to, calls, failed, slow}, {instance, name}) do
    measurements = %{calls: calls, failed: failed, slow: slow}
    Telemetry.emit(instance, [:breaker, :state_changed], measurements, %{breaker: name, from: from, to: to})
  end

  defp book(instance) do
    with {:ok, {_rows, book}} <- Instances.tables(instance), do: book, else: (_not_running -> nil)
  end

  defp next_look(book, name) do
    with {config, _state} <- Notes.fetch(book, name), true <- Config.timed?(config), do: Clerk.look(book, name)
  rescue
    # The tables went with the instance.
    ArgumentError -> nil
  end
end
