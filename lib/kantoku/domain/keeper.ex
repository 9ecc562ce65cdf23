defmodule Kantoku.Domain.Keeper do
  # Repairs the rows of one place, at its start and when told that some look wrong. Decides no restart, and does nothing that is
  # needed while nothing is killed. What it does is written down in `Repair`.
  @moduledoc false
  use GenServer

  alias Kantoku.Instances
  alias Kantoku.Domain.{Book, Pair, Repair}

  @spec start_link({Pair.place(), Book.epoch()}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @doc "Asks the keeper of a place to look at some agents. Whether it gets to it does not matter: who asks will ask again."
  @spec look(:ets.tid(), Kantoku.Domain.name(), Book.part(), [term]) :: :ok
  def look(book, domain, part, ids) do
    with pid when is_pid(pid) <- Book.keeper(book, domain, part), do: GenServer.cast(pid, {:look, ids})
    :ok
  end

  @impl true
  def init({place, epoch}), do: {:ok, {place, epoch}, {:continue, :repair}}

  @impl true
  def handle_continue(:repair, {{instance, domain, part} = place, epoch}) do
    {rows, book} = Instances.tables!(instance)
    repair = Repair.new({instance, rows, book}, place, agents_beside())
    Book.seat(book, {:keeper, domain, part}, Book.next_epoch(epoch), self())
    Repair.all(repair)
    {:noreply, repair, :hibernate}
  end

  # Not from the book: there, a later epoch may have won already.
  defp agents_beside do
    [pair | _] = Process.get(:"$ancestors")
    {:agents, agents, _type, _modules} = pair |> Supervisor.which_children() |> List.keyfind(:agents, 0)
    agents
  end

  @impl true
  def handle_cast({:look, ids}, repair) do
    Repair.some(repair, ids)
    {:noreply, repair, :hibernate}
  end

  @impl true
  def handle_info(_late_reply, repair), do: {:noreply, repair, :hibernate}
end
