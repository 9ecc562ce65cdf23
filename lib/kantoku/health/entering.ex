defmodule Kantoku.Health.Entering do
  # Who has a place in the tree of health: each agent that has a row, below its domain. Run by whoever makes the rounds. Judges only
  # what a row says: an agent that is down is not well.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Book, Launch, Rows}
  alias Kantoku.Engine.Health
  alias Kantoku.Health.{Board, Config, Gate, Prober}
  alias Kantoku.Probe

  @type context :: {atom, rows :: :ets.tid(), book :: :ets.tid(), board :: :ets.tid(), Config.t()}

  @typedoc "What a round needs of a row. A module alone is `what` most agents are; of others, what kind."
  @type seen :: {id :: term, Kantoku.Domain.name(), Rows.phase(), pid | nil, :data | :otp | :informed}

  @passive {0, :liveness, 1, 1}

  # Before any monotonic time.
  @ever -0x4000000000000000

  # Rows -------------------------------------------------------------------------------------------------------------------

  @doc """
  The first slice of the rows that may tell something new, and how to go on: all but those of agents which say how they are themselves
  and are up since before `since` (monotonic native time; `nil`: all).
  """
  @spec first(:ets.tid(), integer | nil, pos_integer) :: {[seen], term} | :"$end_of_table"
  def first(rows, since, limit), do: :ets.select(rows, spec(since || @ever), limit)

  @doc "The next slice."
  @spec next(term) :: {[seen], term} | :"$end_of_table"
  def next(walk), do: :ets.select(walk)

  # Who was never started has no time, which is no number and so not before any.
  defp spec(since) do
    pattern = Rows.pattern_of(id: :"$1", domain: :"$2", phase: :"$3", pid: :"$4", what: :"$5", started: :"$6")
    seen = fn kind -> [{{:"$1", :"$2", :"$3", :"$4", kind}}] end
    new = {:orelse, {:"=/=", :"$3", :up}, {:not, {:<, :"$6", since}}}
    data = {:"=:=", {:element, 1, :"$5"}, :data}

    [
      {pattern, [{:is_atom, :"$5"}, new], seen.(:data)},
      {pattern, [{:is_tuple, :"$5"}, {:andalso, data, new}], seen.(:data)},
      {pattern, [{:is_tuple, :"$5"}, {:not, data}], seen.({:element, 1, :"$5"})}
    ]
  end

  @doc "What a round sees of one agent."
  @spec one(:ets.tid(), term) :: seen | nil
  def one(rows, id) do
    with row(domain: domain, phase: phase, pid: pid, what: what) <- Rows.get(rows, id) do
      {id, domain, phase, pid, if(is_atom(what), do: :data, else: elem(what, 0))}
    end
  end

  # Groups -----------------------------------------------------------------------------------------------------------------

  @doc "The node of a domain, or of the instance (`nil`); it and those above it are made if they are not there."
  @spec group(atom, :ets.tid(), :ets.tid(), Kantoku.Domain.name() | nil) :: Health.node_handle() | nil
  def group(instance, book, board, domain) do
    with nil <- Board.group(board, domain) do
      parent = if domain != nil, do: group(instance, book, board, Book.shape(book, domain).parent)
      spec = {:group, Config.rule(Board.config(board))}

      with {:ok, node} <- Board.told(Health.health_add(instance, parent, spec, nil, nil), instance, board) do
        Board.put_group(board, domain, node)
        node
      else
        _unknown -> nil
      end
    end
  end

  @doc "Gives all nodes the rules and probes of a new configuration."
  @spec reconfigure(context) :: :ok
  def reconfigure({instance, rows, _book, board, config}) do
    change = fn agent, node, spec ->
      Board.told(Health.health_change(instance, node, spec, nil), instance, board, agent)
    end

    for domain <- Board.groups(board), do: change.(nil, Board.group(board, domain), {:group, Config.rule(config)})

    for {id, node} <- Board.agents(board), row(domain: domain, what: what) <- [Rows.get(rows, id)] do
      change.({id, node}, node, {:agent, thresholds(Config.probes(config, id, domain, Launch.module(what)))})
    end

    :ok
  end

  @doc "Has all agents asked by the probes of this configuration, and those that none asks by none."
  @spec have_asked(context) :: :ok
  def have_asked({_instance, rows, book, board, config}) do
    for {id, node} <- Board.agents(board), row(domain: domain, what: what) <- [Rows.get(rows, id)] do
      {_node, pid, _condition} = Board.agent(board, id)
      ask(book, {id, node, pid}, Config.probes(config, id, domain, Launch.module(what)))
    end

    :ok
  end

  # Whom nobody asks any more nobody will let in.
  defp ask(book, {id, _node, pid} = agent, probes) do
    if is_pid(pid), do: Prober.ask(book, agent, probes)
    if probes == [], do: Gate.forget(book, id)
  end

  # Agents -----------------------------------------------------------------------------------------------------------------

  @doc """
  Sees to the node of one agent: what a sampler is to look at, if anything, and whether it is to be looked at `:again` in the next round,
  new or not, as nothing is settled.
  """
  @spec look(context, seen) :: [Kantoku.Health.Sampler.look() | {:again, id :: term}]
  def look({_instance, _rows, _book, board, _config} = context, {id, domain, phase, pid, kind}) do
    case {Board.agent(board, id), condition(phase)} do
      {_known, nil} -> [{:again, id}]
      {nil, condition} -> enter(context, id, domain, condition, pid)
      {{node, ^pid, :up}, :up} -> if kind == :data, do: [], else: sample(context, id, node, pid)
      {{node, ^pid, :silent}, :up} -> listen(context, id, node, pid)
      {{_node, _pid, :down}, :down} -> []
      {known, :up} -> again(context, known, id, domain, pid)
      {{node, _pid, _up}, :down} -> down(context, id, node)
    end
  end

  defp condition(:up), do: :up
  defp condition(phase) when phase in [:resting, :behind, :parked], do: :down
  defp condition(_between), do: nil

  defp again({instance, _rows, _book, board, _config} = context, {node, _pid, _condition}, id, domain, pid) do
    Board.told(Health.health_remove(instance, node, nil), instance, board)
    Board.forget(board, id)
    enter(context, id, domain, :up, pid)
  end

  defp enter({instance, rows, book, board, config} = context, id, domain, condition, pid) do
    pid = if condition == :up, do: pid

    with row(what: what) <- Rows.get(rows, id),
         parent when parent != nil <- group(instance, book, board, domain),
         probes = Config.probes(config, id, domain, Launch.module(what)),
         spec = {:agent, thresholds(probes)},
         {:ok, node} <- Board.told(Health.health_add(instance, parent, spec, pid, nil), instance, board) do
      Board.put_agent(board, id, node, pid, :up)
      if is_pid(pid) and probes != [], do: Prober.ask(book, {id, node, pid}, probes)
      begin(condition, context, id, node, pid, what)
    else
      _gone -> [{:again, id}]
    end
  end

  defp begin(:down, context, id, node, _pid, _what), do: down(context, id, node)

  defp begin(:up, {instance, _rows, _book, board, _config} = context, id, node, pid, what) do
    if Launch.pulse?(what) do
      Board.put_condition(board, id, :silent)
      send(pid, {:"$kantoku", {:pulse, {instance, node}}})
      [{:again, id}]
    else
      sample(context, id, node, pid)
    end
  end

  # Who was at work on something before it could be told to say so is looked at as those who never do.
  defp listen({instance, _rows, _book, board, _config} = context, id, node, pid) do
    if silent?(instance, node) do
      [{:again, id} | sample(context, id, node, pid)]
    else
      Board.told(Health.health_report(instance, node, 0, :success, nil), instance, board, {id, node})
      Board.put_evidence(board, id, 0, nil)
      Board.put_condition(board, id, :up)
      []
    end
  end

  @doc "Whether an agent has not said yet how it is, or never does."
  @spec silent?(atom, Health.node_handle()) :: boolean
  def silent?(instance, node) do
    case Health.health_status(instance, node, nil) do
      {_state, _age, _counts, _probes, pulse} -> pulse == :none
      _gone -> false
    end
  end

  defp thresholds(probes), do: [@passive | Enum.map(probes, &Probe.thresholds/1)]

  defp down({instance, _rows, _book, board, _config}, id, node) do
    Board.told(Health.health_report(instance, node, 0, :failure, nil), instance, board, {id, node})
    Board.put_condition(board, id, :down)
    []
  end

  defp sample({_instance, _rows, _book, _board, %{max_busy: limits}}, _id, node, pid) when limits == %{},
    do: [{node, pid, nil}]

  defp sample({_instance, rows, _book, _board, config}, id, node, pid) do
    case Rows.get(rows, id) do
      row(what: what) -> [{node, pid, config.max_busy[Launch.module(what)]}]
      nil -> []
    end
  end

  @doc "Takes those away that have no row any more; their nodes."
  @spec sweep(context) :: [Health.node_handle()]
  def sweep({instance, rows, book, board, _config}) do
    for {id, node} <- Board.agents(board), not :ets.member(rows, id) do
      Board.told(Health.health_remove(instance, node, nil), instance, board)
      Board.forget(board, id)
      Gate.forget(book, id)
      node
    end
  end
end
