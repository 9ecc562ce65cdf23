defmodule Kantoku.Pool.Foremen do
  # The supervisor of an instance's pool foremen: those of the book at its start, others as they are added. A foreman's death loses
  # nothing, so this never gives up. Knows no worker.
  @moduledoc false
  use Supervisor

  alias Kantoku.Domain.{Book, Pair}
  alias Kantoku.Instances
  alias Kantoku.Pool.{Foreman, Notes}

  @spec start_link(atom) :: Supervisor.on_start()
  def start_link(instance), do: Supervisor.start_link(__MODULE__, instance)

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)
    Book.seat(book, :foremen, Book.next_epoch([]), self())
    foremen = for pool <- Notes.pools(book), do: {Foreman, {instance, pool}}
    Supervisor.init(foremen, [strategy: :one_for_one] ++ Pair.unlimited())
  end

  @doc "Starts the foreman of a pool that is in the book."
  @spec add(:ets.tid(), atom, atom) :: :ok
  def add(book, instance, pool) do
    Book.in_office(book, :foremen, fn supervisor ->
      with {:error, :already_present} <- Supervisor.start_child(supervisor, {Foreman, {instance, pool}}),
           do: Supervisor.restart_child(supervisor, pool)
    end)
  end

  @doc "Stops the foreman of a pool that is not in the book any more."
  @spec remove(:ets.tid(), atom) :: :ok
  def remove(book, pool) do
    Book.in_office(book, :foremen, fn supervisor ->
      Supervisor.terminate_child(supervisor, pool)
      Supervisor.delete_child(supervisor, pool)
    end)
  end
end
