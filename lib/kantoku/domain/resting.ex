defmodule Kantoku.Domain.Resting do
  # Holds the place of an agent in its supervisor until the agent is due. Decides nothing: when it is time it has the
  # supervisor run `Start` again, and whatever kills it before or after has the same effect.
  @moduledoc false
  use GenServer, restart: :temporary

  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.Instances
  alias Kantoku.Domain.{Rows, Start}

  @type place ::
          {instance :: atom, id :: term, gen :: term, part :: Kantoku.Domain.Book.part(), due :: integer | :never}

  # A timer's span is limited; whoever sleeps longer looks again then.
  @longest 4_000_000_000

  @doc "To be called by the supervisor whose place is held."
  @spec start_link(place) :: {:ok, pid}
  def start_link(place), do: GenServer.start_link(__MODULE__, {self(), place})

  @doc "It is time, whatever it was told before."
  @spec wake(pid) :: :ok
  def wake(pid) do
    send(pid, :due)
    :ok
  end

  @impl true
  def init({supervisor, {instance, id, gen, part, due}}) do
    set_timer(due)
    {:ok, {supervisor, instance, id, gen, part}, :hibernate}
  end

  defp set_timer(:never), do: :ok

  defp set_timer(due),
    do: Process.send_after(self(), :due, max(0, min(due - System.monotonic_time(:millisecond), @longest)))

  # A group's supervisor restarts by its strategy, which needs an exit; by a signal, as that is no crash to be reported.
  @impl true
  def handle_info(:due, {_supervisor, _instance, _id, _gen, :group} = state) do
    Process.exit(self(), :rest_over)
    {:noreply, state}
  end

  def handle_info(:due, {supervisor, instance, id, gen, _part} = state) do
    with {:ok, {rows, _book}} <- Instances.tables(instance), row(gen: ^gen) = row <- Rows.get(rows, id) do
      DynamicSupervisor.start_child(supervisor, Start.child(row))
    end

    DynamicSupervisor.terminate_child(supervisor, self())
    {:noreply, state}
  end

  def handle_info(_other, state), do: {:noreply, state, :hibernate}

  @impl true
  def handle_call(_request, _from, state), do: {:reply, {:error, :resting}, state, :hibernate}

  @impl true
  def handle_cast(_request, state), do: {:noreply, state, :hibernate}
end
