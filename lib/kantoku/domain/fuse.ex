defmodule Kantoku.Domain.Fuse do
  # The significant child whose end makes its supervisor stop a domain in order. Knows only that the domain is given up.
  #
  # The mark in the book comes first and the message second, so that a fuse that was killed in between finds the mark.
  @moduledoc false
  use GenServer

  alias Kantoku.{Instances, Telemetry}
  alias Kantoku.Domain.Book

  @doc "Gives a domain up, `nil` for the whole instance, and counts that as a restart of the level above."
  @spec blow(atom, :ets.tid(), Kantoku.Domain.name() | nil) :: :ok
  def blow(instance, book, domain) do
    if Book.blow(book, domain) do
      parent = Book.shape(book, domain).parent
      report(instance, book, domain, parent)
      if domain && Book.exceeded?(book, parent, now()), do: blow(instance, book, parent)
      with pid when is_pid(pid) <- Book.seated(book, {:fuse, domain}), do: send(pid, :blown)
    end

    :ok
  end

  defp report(instance, book, domain, parent) do
    restarts = Book.policy(book, domain).max_restarts + 1
    metadata = %{domain: domain, parent: parent, reason: :max_restarts}
    Telemetry.emit(instance, [:domain, :escalated], %{crashes: restarts}, metadata)
  end

  @spec child_spec({atom, Kantoku.Domain.name() | nil, Book.epoch()}) :: map
  def child_spec(argument) do
    %{id: __MODULE__, start: {__MODULE__, :start_link, [argument]}, restart: :transient, significant: true}
  end

  @spec start_link({atom, Kantoku.Domain.name() | nil, Book.epoch()}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init({instance, domain, epoch}) do
    {_rows, book} = Instances.tables!(instance)
    Book.seat(book, {:fuse, domain}, Book.next_epoch(epoch), self())
    {:ok, {book, domain}, {:continue, :look}}
  end

  @impl true
  def handle_continue(:look, state), do: look(state)

  @impl true
  def handle_info(_blown, state), do: look(state)

  defp look({book, domain} = state) do
    if Book.blown?(book, domain), do: {:stop, :shutdown, state}, else: {:noreply, state, :hibernate}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
