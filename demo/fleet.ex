defmodule Demo.Fleet do
  # The agents: three types in one instance with the policies that every user gets, and how one is found for a piece of work.
  # Knows no files.
  @moduledoc false

  alias Demo.{Extractor, Gauges, Indexer, Options, Reader, Roster}
  alias Kantoku.Registry

  @look 20

  @enforce_keys [:instance, :supervisor, :sizes]
  defstruct @enforce_keys ++ [:roster]

  @type kind :: :read | :extract | :index
  @type t :: %__MODULE__{
          instance: atom,
          supervisor: pid,
          sizes: %{kind => pos_integer},
          roster: Demo.Roster.t() | nil
        }

  @doc "Starts an instance and its agents."
  @spec start(atom, Options.t()) :: t
  def start(instance, options) do
    :ok = Gauges.new(instance)
    {:ok, supervisor} = Kantoku.start_link(name: instance, engine: options.engine)
    %__MODULE__{instance: instance, supervisor: supervisor, sizes: sizes(options.agents)}
  end

  @doc "Starts the agents of a fleet, and their roster."
  @spec man(t) :: t
  def man(%{instance: instance, sizes: sizes} = fleet) do
    for {kind, size} <- sizes, number <- 0..(size - 1) do
      {:ok, _pid} = Kantoku.start_agent(instance, spec(kind), id: {kind, number}, capabilities: [kind])
    end

    {:ok, roster} = Roster.start_link(instance, Map.take(sizes, [:read, :extract]))
    %{fleet | roster: roster}
  end

  # Half extract, which is most of the work.
  defp sizes(agents) do
    quarter = max(1, div(agents, 4))
    %{read: quarter, index: quarter, extract: agents - 2 * quarter}
  end

  defp spec(:read), do: {Reader, []}
  defp spec(:extract), do: Extractor
  defp spec(:index), do: Indexer

  @doc "Ends the instance with all its agents."
  @spec stop(t) :: :ok
  def stop(%{supervisor: supervisor, roster: roster}) do
    Roster.stop(roster)
    Supervisor.stop(supervisor, :normal, :infinity)
  end

  @doc "All ids of a kind."
  @spec ids(t, kind) :: [term]
  def ids(%{sizes: sizes}, kind), do: for(number <- 0..(sizes[kind] - 1), do: {kind, number})

  @doc """
  Runs `work` with the id of an agent that has less to do than others of its kind, and whose load is one more meanwhile. Waits while
  there is none.
  """
  @spec with_agent(t, kind, (term -> result)) :: result when result: term
  def with_agent(%{instance: instance} = fleet, kind, work) do
    id = await(fleet, kind)

    case Registry.load_handle(instance, id) do
      {:ok, load} -> laden(instance, load, fn -> work.(id) end)
      :error -> work.(id)
    end
  end

  defp await(fleet, kind) do
    case Roster.pick(fleet.roster, kind) do
      nil -> Process.sleep(@look) && await(fleet, kind)
      id -> id
    end
  end

  # An agent that was killed meanwhile came back with no load, and its old handle is refused.
  defp laden(instance, load, work) do
    Registry.add_load(instance, load, 1)
    result = work.()
    Registry.add_load(instance, load, -1)
    result
  end

  @doc """
  The indexer for a piece of the files, whatever names it: of those that are up the first in an order that is the piece's own. So
  most pieces go to the same shard in each pass, which then counts on the terms that it has.
  """
  @spec indexer(t, piece :: term, choice :: non_neg_integer) :: term
  def indexer(fleet, piece, choice \\ 0) do
    id = {:index, :erlang.phash2({piece, choice}, fleet.sizes.index)}

    cond do
      Kantoku.whereis(fleet.instance, id) -> id
      choice < 2 * fleet.sizes.index -> indexer(fleet, piece, choice + 1)
      true -> Process.sleep(@look) && indexer(fleet, piece, 0)
    end
  end
end
