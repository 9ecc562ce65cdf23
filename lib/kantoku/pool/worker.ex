defmodule Kantoku.Pool.Worker do
  # A pool's worker as an agent of the pool's domain: its name, its wish, its start, its end. Decides nothing about sizes. All but the
  # wish may wait for a supervisor, so it is run by processes of the foreman's, never by the foreman.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Agents, Instances}
  alias Kantoku.Domain.{Book, Enrolment, Remains, Rows, Start, Wish}
  alias Kantoku.Pool.Config

  @type id :: {:pool, atom, non_neg_integer}

  @doc "The id under which a worker is an agent."
  @spec id(atom, non_neg_integer) :: id
  def id(pool, member), do: {:pool, pool, member}

  @doc "The row of a worker that is wanted; raises `ArgumentError` if the pool's `:worker` is nothing that can be started."
  @spec wish(atom, Config.t(), non_neg_integer) :: Rows.row()
  def wish(instance, %{name: pool, worker: worker}, member) do
    {spec, opts} = split(worker)
    own = [id: id(pool, member), domain: {:pool, pool}, restart: :permanent]
    row(Wish.new!(instance, spec, Keyword.merge(opts, own)), phase: :recover)
  end

  defp split([{_, _} | _] = worker) do
    {spec, opts} = Keyword.pop(worker, :spec)
    spec || raise ArgumentError, "option :worker: expected a :spec in #{inspect(worker)}"
    {spec, opts}
  end

  defp split(spec), do: {spec, []}

  @doc """
  Has a worker started. It is begun in the phase of one that is to come back: so a first start that fails is charged, waits and
  is tried again as any other is, by the domain. Whether it is up says its row.
  """
  @spec start(atom, Config.t(), non_neg_integer) :: term
  def start(instance, config, member), do: Agents.enlist(instance, wish(instance, config, member))

  @doc "Stops a worker for good."
  @spec stop(atom, atom, non_neg_integer) :: term
  def stop(instance, pool, member), do: Agents.stop(instance, id(pool, member))

  @doc "Kills a worker, and has it started again at once without charging it."
  @spec replace(atom, atom, non_neg_integer, pid) :: term
  def replace(instance, pool, member, pid) do
    Instances.reading(instance, fn rows, _book ->
      with row(pid: ^pid, sup: sup, part: part, id: id, gen: gen) <- Rows.get(rows, id(pool, member)) do
        Start.aside(sup, part, :excuse, [instance, id, gen])
        Remains.kill(pid)
      end
    end)
  end

  @doc """
  Kills what a partition has been starting since `mark`, if it still does. The start fails by that, which is charged, and the
  partition goes on with the next.
  """
  @spec kill_start(atom, atom, Book.part(), Enrolment.mark()) :: term
  def kill_start(instance, pool, part, {supervisor, _id, _since} = mark) do
    Instances.reading(instance, fn rows, book ->
      known = for row(pid: pid) when is_pid(pid) <- Rows.of(rows, {:pool, pool}, part), do: pid
      if Enrolment.starting(book, {:pool, pool}, part) == mark, do: Remains.kill_starting(supervisor, known)
    end)
  end
end
