defmodule Kantoku.Health.Board do
  # The names of the nodes in an instance's tree of health, and what is told of them. One process writes; all read. Rows:
  #
  #   {{:group, domain}, node}; the instance is the group `nil`     {node of a group, its domain}
  #   {{:evidence, id, probe}, what was found, its monotonic ms}    {{:witness, id}, who looks at it}
  #   {:config, options}    {:waits, table}    {:agents, table}
  #
  # Agents have a table of their own: {id, node, pid}, and the condition as well if it is not `:up`. There are as many rows as
  # agents, so who has the node of an agent has to know its process, too, which knows its name. Judges nothing.
  @moduledoc false

  alias Kantoku.Domain.Book
  alias Kantoku.Engine.Health
  alias Kantoku.Health.{Config, Waits}
  alias Kantoku.{Instances, Registry, Telemetry}

  @typedoc "`:silent`: it is up, and has not said how it is, though it could."
  @type condition :: :up | :silent | :down

  @doc "Makes the table and that of who waits for whom, which live as long as the calling process, and says in the book where they are."
  @spec new_table(:ets.tid()) :: :ets.tid()
  def new_table(book) do
    board = :ets.new(__MODULE__, [:public, read_concurrency: true])

    :ets.insert(board, [
      {:config, :ets.lookup_element(book, :health_options, 2)},
      {:waits, Waits.new_table()},
      {:agents, :ets.new(__MODULE__.Agents, [:public, read_concurrency: true])}
    ])

    Book.seat(book, :health, Book.next_epoch([]), board)
    board
  end

  @doc "Whether the health of the instance is looked after."
  @spec wanted?(:ets.tid()) :: boolean
  def wanted?(book), do: :ets.lookup_element(book, :health_options, 2) != nil

  @doc "The board of an instance, if it has one."
  @spec of(:ets.tid()) :: :ets.tid() | nil
  def of(book), do: Book.seated(book, :health)

  @doc "Says who makes the rounds."
  @spec seat_rounds(:ets.tid(), pid) :: boolean
  def seat_rounds(book, pid), do: Book.seat(book, :health_rounds, Book.next_epoch([]), pid)

  @doc "Who makes the rounds, dead or alive."
  @spec rounds(:ets.tid()) :: pid | nil
  def rounds(book), do: Book.seated(book, :health_rounds)

  @doc "Says who asks agents."
  @spec seat_prober(:ets.tid(), pid) :: boolean
  def seat_prober(book, pid), do: Book.seat(book, :health_prober, Book.next_epoch([]), pid)

  @doc "Who asks agents, dead or alive."
  @spec prober(:ets.tid()) :: pid | nil
  def prober(book), do: Book.seated(book, :health_prober)

  @doc "Runs `fun` with the board of an instance; `nil` if health is off, or about to be there again."
  @spec reading(atom, (:ets.tid() -> result)) :: result | nil | {:error, Kantoku.Error.t()} when result: term
  def reading(instance, fun) do
    Instances.reading(instance, fn _rows, book -> with(board when board != nil <- of(book), do: read(board, fun)) end)
  end

  defp read(board, fun) do
    fun.(board)
  rescue
    error in ArgumentError -> if whole?(board), do: reraise(error, __STACKTRACE__), else: nil
  end

  # Tables go with their owner, one after the other.
  defp whole?(board) do
    Enum.all?([:agents, :waits], &(:ets.info(:ets.lookup_element(board, &1, 2), :id) != :undefined))
  rescue
    ArgumentError -> false
  end

  @spec config(:ets.tid()) :: Config.t()
  def config(board), do: :ets.lookup_element(board, :config, 2)

  @doc "Changes the options, in the book as well: so they outlive this table. What probes found that are no more is forgotten."
  @spec put_config(:ets.tid(), :ets.tid(), Config.t()) :: true
  def put_config(book, board, config) do
    enter(book, config)
    gone = for probe <- [%{id: 0} | config.probes], do: {:"=/=", :"$1", probe.id}
    :ets.select_delete(board, [{{{:evidence, :_, :"$1"}, :_, :_}, gone, [true]}])
    :ets.insert(board, {:config, config})
  end

  @doc "Enters the options of an instance in its book."
  @spec enter(:ets.tid(), Config.t() | nil) :: true
  def enter(book, config) do
    # Looked at whenever an agent starts, so it is there only if it matters.
    if Config.gates?(config), do: :ets.insert(book, {:health_gates, config}), else: :ets.delete(book, :health_gates)
    :ets.insert(book, {:health_options, config})
  end

  @spec waits(:ets.tid()) :: :ets.tid()
  def waits(board), do: :ets.lookup_element(board, :waits, 2)

  # Nodes ------------------------------------------------------------------------------------------------------------------

  @spec group(:ets.tid(), Kantoku.Domain.name() | nil) :: Health.node_handle() | nil
  def group(board, domain) do
    case :ets.lookup(board, {:group, domain}) do
      [{_name, node}] -> node
      [] -> nil
    end
  end

  @spec agent(:ets.tid(), term) :: {Health.node_handle(), pid | nil, condition} | nil
  def agent(board, id) do
    case :ets.lookup(agents_table(board), id) do
      [{_id, node, pid}] -> {node, pid, :up}
      [{_id, node, pid, condition}] -> {node, pid, condition}
      [] -> nil
    end
  end

  @doc "The agent that has this node as this process, of those that the process is named."
  @spec agent_of(:ets.tid(), atom, Health.node_handle(), pid) :: {:ok, id :: term} | nil
  def agent_of(board, instance, node, pid) do
    Enum.find_value(Registry.keys(instance, pid), fn id ->
      if match?({^node, ^pid, _condition}, agent(board, id)), do: {:ok, id}
    end)
  end

  @spec put_group(:ets.tid(), Kantoku.Domain.name() | nil, Health.node_handle()) :: true
  def put_group(board, domain, node) do
    :ets.insert(board, [{{:group, domain}, node}, {node, domain}])
  end

  @spec put_agent(:ets.tid(), term, Health.node_handle(), pid | nil, condition) :: true
  def put_agent(board, id, node, pid, :up), do: :ets.insert(agents_table(board), {id, node, pid})
  def put_agent(board, id, node, pid, condition), do: :ets.insert(agents_table(board), {id, node, pid, condition})

  @doc "Changes the condition of an agent that is there."
  @spec put_condition(:ets.tid(), term, condition) :: boolean
  def put_condition(board, id, condition) do
    case agent(board, id) do
      {node, pid, _before} -> put_agent(board, id, node, pid, condition)
      nil -> false
    end
  end

  @doc "Says who looks at an agent that was found stuck."
  @spec put_witness(:ets.tid(), term, pid) :: true
  def put_witness(board, id, witness), do: :ets.insert(board, {{:witness, id}, witness})

  @doc "Whether somebody is still at that."
  @spec witnessed?(:ets.tid(), term) :: boolean
  def witnessed?(board, id) do
    case :ets.lookup(board, {:witness, id}) do
      [{_key, witness}] -> Process.alive?(witness)
      [] -> false
    end
  end

  @doc "Takes an agent off the board."
  @spec forget(:ets.tid(), term) :: true
  def forget(board, id) do
    # By key: a look for all of them would be one at every row, for each agent that is restarted.
    for probe <- [0 | Enum.map(config(board).probes, & &1.id)], do: :ets.delete(board, {:evidence, id, probe})
    :ets.delete(board, {:witness, id})
    :ets.delete(agents_table(board), id)
  end

  @doc "How many agents there are."
  @spec size(:ets.tid()) :: non_neg_integer
  def size(board), do: :ets.info(agents_table(board), :size)

  @doc "All agents with their nodes."
  @spec agents(:ets.tid()) :: [{id :: term, Health.node_handle()}]
  def agents(board) do
    found = [{{:"$1", :"$2"}}]
    :ets.select(agents_table(board), [{{:"$1", :"$2", :_}, [], found}, {{:"$1", :"$2", :_, :_}, [], found}])
  end

  defp agents_table(board), do: :ets.lookup_element(board, :agents, 2)

  @doc "The domains that have a group."
  @spec groups(:ets.tid()) :: [Kantoku.Domain.name() | nil]
  def groups(board), do: :ets.select(board, [{{{:group, :"$1"}, :_}, [], [:"$1"]}])

  # What was found -----------------------------------------------------------------------------------------------------------

  @doc "Keeps what a probe found, or that it found nothing to complain of (`nil`)."
  @spec put_evidence(:ets.tid(), term, non_neg_integer, term) :: true
  def put_evidence(board, id, probe, nil), do: :ets.delete(board, {:evidence, id, probe})

  def put_evidence(board, id, probe, evidence),
    do: :ets.insert(board, {{:evidence, id, probe}, evidence, System.monotonic_time(:millisecond)})

  @doc "The agents of whom a probe found something: those are few, and no other is looked at."
  @spec noted(:ets.tid(), probe :: non_neg_integer) :: [id :: term]
  def noted(board, probe), do: :ets.select(board, [{{{:evidence, :"$1", probe}, :_, :_}, [], [:"$1"]}])

  @spec evidence(:ets.tid(), term, non_neg_integer) :: term
  def evidence(board, id, probe) do
    case :ets.lookup(board, {:evidence, id, probe}) do
      [{_key, evidence, _at}] -> evidence
      [] -> nil
    end
  end

  @doc "The bare answer of the engine, after what changed with it was told. `agent` is the one that it was asked of, if it was one."
  @spec told(term, atom, :ets.tid(), {id :: term, Health.node_handle()} | nil) :: term
  def told(answer, instance, board, agent \\ nil)

  def told({:changed, changes, answer}, instance, board, agent) do
    if Telemetry.listening?([:health, :changed]), do: Enum.each(changes, &emit(&1, instance, board, agent))
    answer
  end

  def told(answer, _instance, _board, _agent), do: answer

  defp emit({node, from, to}, instance, board, agent),
    do: Telemetry.emit(instance, [:health, :changed], %{}, %{of: of(board, node, agent), from: from, to: to})

  defp of(_board, node, {id, node}), do: {:agent, id}

  defp of(board, node, _agent) do
    case :ets.lookup(board, node) do
      [{_node, nil}] -> :instance
      [{_node, domain}] -> {:domain, domain}
      [] -> nil
    end
  end
end
