defmodule Kantoku.Health.Gate do
  # Keeps agents that are not ready from being found and from getting work of their pool, whatever they are at. What is shut is in the
  # instance's book, {{:gate, id}, probe, monotonic ms}, so it holds for who is started under that id as well; the entry's attribute and the
  # place in the pool follow it. Finds nobody unready.
  #
  # G1  Whoever is found by `criteria/1`, or takes work in a pool that does not panic, was not shut at that moment.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Enrolment, Rows}
  alias Kantoku.{Engine, Telemetry}
  alias Kantoku.Health.{Board, Config}
  alias Kantoku.Registry.Facet

  # In place of a probe's name, which may be any term of the user's.
  @renewal :"$kantoku_renewal"

  @doc "What shuts out who is to be started again early (`Kantoku.Health.Renewal`), in place of a probe."
  @spec renewal() :: atom
  def renewal, do: @renewal

  @doc "The agents that are shut out by that."
  @spec renewed(:ets.tid()) :: [id :: term]
  def renewed(book), do: :ets.select(book, [{{{:gate, :"$1"}, @renewal, :_}, [], [:"$1"]}])

  @doc "Whether an agent is."
  @spec renewed?(:ets.tid(), term) :: boolean
  def renewed?(book, id), do: match?({@renewal, _since}, why(book, id))

  @doc "Criteria that leave out who is not ready."
  @spec criteria(term) :: term
  def criteria(criteria) when is_list(criteria), do: [{:not, [gate: :shut]} | criteria]
  def criteria(other), do: other

  @doc "Whether an agent is shut out."
  @spec shut?(:ets.tid(), term) :: boolean
  def shut?(book, id), do: :ets.member(book, {:gate, id})

  @doc "By which probe an agent is shut out (`nil`: it has not passed one yet), and since when (monotonic ms)."
  @spec why(:ets.tid(), term) :: {probe :: term, since :: integer} | nil
  def why(book, id) do
    case :ets.lookup(book, {:gate, id}) do
      [{_key, probe, since}] -> {probe, since}
      [] -> nil
    end
  end

  @doc "An agent is about to be named: whether it is shut out until it passes a probe for the first time."
  @spec at_start(:ets.tid(), Rows.row()) :: boolean
  def at_start(book, row(id: id, domain: domain, what: what)) do
    case :ets.lookup(book, :health_gates) do
      [{_key, config}] ->
        gated? = Config.gates?(config, id, domain, Kantoku.Domain.Launch.module(what))
        if gated?, do: enter(book, id, nil), else: forget(book, id)
        gated?

      [] ->
        false
    end
  end

  @doc "It was named: who makes the rounds is to see it now, and what came in between is made up for."
  @spec settle(atom, :ets.tid(), Rows.row(), gated :: boolean) :: :ok
  def settle(_instance, _book, _row, false), do: :ok

  def settle(instance, book, row(id: id) = row, true) do
    unless shut?(book, id), do: open(instance, book, row)
    with pid when is_pid(pid) <- Board.rounds(book), do: send(pid, {:look_at, id})
    :ok
  end

  @doc "Shuts an agent out, for what a probe found."
  @spec shut(atom, :ets.tid(), Rows.row(), probe :: term) :: :ok
  def shut(instance, book, row(id: id, pid: pid) = row, probe) do
    enter(book, id, probe)
    tell(instance, :shut_out, row, %{probe: told(probe)})
    mark(instance, id, pid, :shut)
    stand_aside(instance, row)
  end

  defp enter(book, id, probe), do: :ets.insert(book, {{:gate, id}, probe, System.monotonic_time(:millisecond)})

  # It stays in the pool, which gives it work in a panic only.
  defp stand_aside(instance, row(domain: {:pool, pool}, pid: pid)) do
    _ok_or_none = Engine.Pools.pool_shut(instance, pool, pid)
    :ok
  end

  defp stand_aside(_instance, _row), do: :ok

  @doc "Lets an agent in again."
  @spec open(atom, :ets.tid(), Rows.row()) :: :ok
  def open(instance, book, row(id: id, pid: pid) = row) do
    if shut?(book, id), do: tell(instance, :let_in, row, %{})
    forget(book, id)
    mark(instance, id, pid, nil)
    Enrolment.join(instance, book, row)
  end

  defp tell(instance, verb, row(id: id, domain: domain), more),
    do: Telemetry.emit(instance, [:health, verb], %{}, Map.merge(more, %{id: id, domain: domain}))

  defp told(@renewal), do: :at_risk
  defp told(probe), do: probe

  @doc "Nothing is held against whoever has this id."
  @spec forget(:ets.tid(), term) :: true
  def forget(book, id), do: :ets.delete(book, {:gate, id})

  # Others describe the entry as well: whoever was slower does it again.
  defp mark(instance, id, pid, gate) do
    with {{_key, ^pid, _value, attributes, _load, _incarnation}, version, _handle} <- Engine.entry(instance, id),
         marked = marked(attributes, gate),
         {:stale, _version} <- Engine.describe(instance, id, pid, version, marked, Facet.of(marked)) do
      mark(instance, id, pid, gate)
    else
      _done_or_gone -> :ok
    end
  end

  defp marked(attributes, nil), do: Map.delete(attributes, :gate)
  defp marked(attributes, gate), do: Map.put(attributes, :gate, gate)
end
