defmodule Kantoku.Domain.Pair do
  # A supervisor of agents and the keeper that repairs for it. The keeper comes second and falls with the supervisor
  # (:rest_for_one), so that each new supervisor meets a keeper that looks at everything anew. Knows no row.
  @moduledoc false
  use Supervisor

  alias Kantoku.Instances
  alias Kantoku.Domain.{Book, Group, Keeper}

  @type place :: {instance :: atom, Kantoku.Domain.name(), Book.part()}

  # Whether to restart is decided by agents' rows, so OTP's own count must never end a supervisor.
  @unlimited [max_restarts: 1_000_000, max_seconds: 1]

  # An idle supervisor is packed to its least size after this many ms, which halves what each of its children costs there.
  @idle 2_000

  @doc "The options under which a supervisor never gives up by itself."
  @spec unlimited() :: keyword
  def unlimited, do: @unlimited

  @spec child_spec({place, Book.epoch()}) :: Supervisor.child_spec()
  def child_spec({{_instance, _domain, part}, _epoch} = argument) do
    %{id: part, start: {__MODULE__, :start_link, [argument]}, type: :supervisor}
  end

  @spec start_link({place, Book.epoch()}) :: Supervisor.on_start()
  def start_link({place, epoch}), do: Supervisor.start_link(__MODULE__, {place, Book.next_epoch(epoch)})

  @impl true
  def init({place, epoch}) do
    agents = %{id: :agents, start: {__MODULE__, :start_agents, [place, epoch]}, type: :supervisor}
    Supervisor.init([agents, {Keeper, {place, epoch}}], [strategy: :rest_for_one] ++ @unlimited)
  end

  @doc "Starts the supervisor of a place, unless the pair of a later epoch has it, and says so in the book."
  @spec start_agents(place, Book.epoch()) :: Supervisor.on_start()
  def start_agents({instance, domain, part}, epoch) do
    {rows, book} = Instances.tables!(instance)
    Book.seat(book, {:pair, domain, part}, Book.next_epoch(epoch), self())

    with {:ok, agents} <- start({instance, rows, book}, domain, part) do
      Book.seat(book, {:agents, domain, part}, Book.next_epoch(epoch), agents)
      {:ok, agents}
    end
  end

  defp start({_instance, _rows, book} = context, domain, :group) do
    pair = self()
    Group.start_link(context, domain, fn -> Book.seated(book, {:pair, domain, :group}) == pair end)
  end

  # The instance is here once, in place of with each child: 16 bytes less for each.
  defp start({instance, _rows, _book}, _domain, _index) do
    options = [strategy: :one_for_one, extra_arguments: [instance], hibernate_after: @idle]
    DynamicSupervisor.start_link(options ++ @unlimited)
  end
end
