defmodule Kantoku.Agents do
  # The agents of an instance as its users see them: started, stopped, found, explained. Writes no row but new wishes, and
  # flips `wanted`; all else it asks of the agent's supervisor.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Engine, Error, Instances, Memory}
  alias Kantoku.Domain.{Book, Gauges, Keeper, Rows, Start, Turn, Wish}

  # How long to wait between two looks at what others are doing, in ms; doubles to the second.
  @look 1
  @longest_look 50

  # Starting -------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.start_agent/3`."
  @spec start(atom, term, keyword) :: DynamicSupervisor.on_start_child()
  def start(instance, spec, opts) do
    enlist(instance, Wish.new!(instance, spec, opts))
  end

  @doc "As `start/3`, of a wish that is made already."
  @spec enlist(atom, Rows.row()) :: DynamicSupervisor.on_start_child()
  def enlist(instance, wish), do: Instances.reading(instance, &enter({instance, &1, &2}, wish))

  defp enter({instance, _rows, book} = context, row(id: id, domain: domain) = wish) do
    if Wish.own_options?(wish), do: Wish.check!(wish, Book.agent_options(book))
    {partitions, chain, restart, shutdown} = entrance!(book, domain)

    with :ok <- Memory.Notes.room(book, instance, [:registry, :health]), :ok <- Gauges.enter(chain, instance) do
      Gauges.with_partition(chain, id, partitions, fn part ->
        insert(context, chain, wish |> Wish.complete(restart, shutdown) |> place(book, part))
      end)
    end
  end

  defp entrance!(book, domain) do
    Book.entrance(book, domain) ||
      raise ArgumentError, "option :domain: expected one of #{inspect(Book.domains(book))}, got: #{inspect(domain)}"
  end

  defp place(row(domain: domain) = row, book, part) do
    gen = :erlang.unique_integer([:positive])
    row(row, gen: gen, part: part, sup: Book.supervisor(book, domain, part))
  end

  defp insert({_instance, rows, _book} = context, chain, wish) do
    if Rows.insert_new(rows, wish), do: request(context, wish), else: existing(context, chain, wish)
  end

  # No supervisor yet: its domain is being started.
  defp request(context, row(sup: nil) = row), do: await(context, row)

  defp request({_instance, _rows, _book} = context, row(sup: sup) = row) do
    case DynamicSupervisor.start_child(sup, Start.child(row)) do
      :ignore -> ignored(context, row)
      answer -> answer
    end
  catch
    # The supervisor was killed: its successor's keeper starts the agent.
    :exit, _reason -> await(context, row)
  end

  # Somebody else (a keeper) was faster, or the agent itself said so.
  defp ignored({_instance, rows, _book} = context, row(id: id, gen: gen) = row) do
    if match?(row(gen: ^gen), Rows.get(rows, id)), do: await(context, row), else: :ignore
  end

  defp await(context, row, look \\ @look)

  defp await({_instance, rows, book} = context, row(id: id, gen: gen, domain: domain, part: part) = row, look) do
    case Rows.get(rows, id) do
      row(gen: ^gen, wanted: false) ->
        {:error, Error.new(:stopping, id: id)}

      row(gen: ^gen, phase: :up, pid: pid) ->
        {:ok, pid}

      row(gen: ^gen, phase: phase) = now when phase in [:resting, :parked] ->
        {:error, Start.excuse_for(now)}

      row(gen: ^gen, phase: :stopped) ->
        {:error, Error.new(:stopping, id: id)}

      row(gen: ^gen) ->
        Keeper.look(book, domain, part, [id])
        Process.sleep(look)
        await(context, row, min(look * 2, @longest_look))

      _gone ->
        {:error, Error.new(:start_failed, id: id, exit: :supervisor_killed)}
    end
  end

  # A name that is taken -------------------------------------------------------------------------------------------------

  defp existing({_instance, rows, _book} = context, chain, row(id: id) = wish) do
    case Rows.get(rows, id) do
      nil -> insert(context, chain, wish)
      row(part: :group) = old -> declared(context, chain, old)
      old -> occupied(ended?(old), context, chain, old, wish)
    end
  end

  # An agent that has ended leaves its row until it is swept; a new wish need not wait for that.
  defp ended?(row(phase: :up, wanted: wanted, pid: pid) = row),
    do: Rows.restart(row) != :permanent and is_boolean(wanted) and not Process.alive?(pid)

  defp ended?(_row), do: false

  defp occupied(true, {_instance, rows, book} = context, chain, row(domain: domain) = old, wish) do
    if Rows.supersede(rows, old, wish) do
      Gauges.leave(Book.chain(book, domain))
      request(context, wish)
    else
      existing(context, chain, wish)
    end
  end

  defp occupied(false, context, chain, old, _wish) do
    Gauges.leave(chain)
    taken(context, old)
  end

  defp taken(_context, row(id: id, wanted: false)), do: {:error, Error.new(:stopping, id: id)}

  defp taken(context, row(phase: phase) = old) when phase in [:new, :starting, :recover] do
    with {:ok, pid} <- await(context, old), do: already(pid)
  end

  defp taken(_context, row(phase: :up, pid: pid) = old) do
    if Process.alive?(pid), do: already(pid), else: {:error, Start.excuse_for(old)}
  end

  defp taken(_context, old), do: {:error, Start.excuse_for(old)}

  # What was declared and stopped is started as declared.
  defp declared(context, chain, old) do
    Gauges.leave(chain)
    in_turn(context, old, &if(row(&1, :phase) == :stopped, do: start_stopped(context, &1), else: taken(context, &1)))
  end

  defp start_stopped({instance, _rows, _book} = context, row(sup: sup, id: id, gen: gen) = old, look \\ @look) do
    Start.aside(sup, :group, :want, [instance, id, gen])
    Supervisor.restart_child(sup, id)
    await(context, old)
  catch
    :exit, _reason -> unless_stopped(context, old, look, &start_stopped/3)
  end

  # The supervisor was killed. If it was not told of the wish before, its successor is.
  defp unless_stopped({_instance, rows, _book} = context, row(id: id) = old, look, again) do
    case Rows.get(rows, id) do
      row(phase: :stopped) = row ->
        Process.sleep(look)
        again.(context, row, min(look * 2, @longest_look))

      _wanted_or_gone ->
        await(context, old)
    end
  end

  defp already(pid), do: {:error, {:already_started, pid}}

  # Stopping -------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.stop_agent/2`."
  @spec stop(atom, term) :: :ok | {:error, Error.t()}
  def stop(instance, id) do
    on_row(instance, id, fn context, row -> in_turn(context, row, &stop_row(context, &1)) end)
  end

  defp stop_row(_context, row(phase: :stopped, id: id)), do: {:error, Error.new(:not_found, id: id)}

  defp stop_row({_instance, rows, _book} = context, row) do
    _ = Rows.unwant(rows, row)
    take_down(context, row, @look)
  end

  defp take_down({_instance, rows, book} = context, row(id: id, gen: gen) = seen, look) do
    case Rows.get(rows, id) do
      row(gen: ^gen, phase: phase) = row when phase != :stopped ->
        terminate(context, row)
        if look > @look, do: look_again(book, row, look)
        take_down(context, seen, min(look * 2, @longest_look))

      _gone ->
        :ok
    end
  end

  defp look_again(book, row(id: id, domain: domain, part: part), pause) do
    Keeper.look(book, domain, part, [id])
    Process.sleep(pause)
  end

  defp terminate({instance, _rows, _book}, row(part: :group, sup: sup, id: id, gen: gen)) do
    Supervisor.terminate_child(sup, id)
    Start.aside(sup, :group, :forget, [instance, id, gen])
  catch
    :exit, _reason -> :ok
  end

  defp terminate({instance, _rows, _book}, row(part: part, sup: sup, id: id, gen: gen, pid: pid)) do
    if is_pid(pid), do: DynamicSupervisor.terminate_child(sup, pid)
    Start.aside(sup, part, :forget, [instance, id, gen])
  catch
    :exit, _reason -> :ok
  end

  # Restarting -----------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.restart_agent/2`."
  @spec restart(atom, term) :: {:ok, pid} | {:error, Error.t() | term}
  def restart(instance, id) do
    on_row(instance, id, fn context, row -> in_turn(context, row, &restart_row(context, &1, @look)) end)
  end

  defp restart_row({instance, _rows, _book} = context, row(sup: sup, id: id, gen: gen, part: part) = row, look) do
    Start.aside(sup, part, :excuse, [instance, id, gen])
    start_again(context, row)
    await(context, row)
  catch
    :exit, _reason -> unless_stopped(context, row, look, &restart_row/3)
  end

  defp start_again(_context, row(part: :group, sup: sup, id: id)) do
    Supervisor.terminate_child(sup, id)
    Supervisor.restart_child(sup, id)
  end

  defp start_again({_instance, rows, _book}, row(sup: sup, id: id, pid: pid)) do
    if is_pid(pid), do: DynamicSupervisor.terminate_child(sup, pid)
    with row() = row <- Rows.get(rows, id), do: DynamicSupervisor.start_child(sup, Start.child(row))
  end

  @doc """
  For an agent that cannot go on: has its supervisor park it when it ends, which it should do next. `incarnation` tells its row from
  that of others; outside of an instance this does nothing.
  """
  @spec park_me(atom, term, pos_integer, reason :: term) :: :ok
  def park_me(instance, id, incarnation, reason) do
    _ = Instances.reading(instance, fn rows, _book -> ask_park(rows, Rows.get(rows, id), incarnation, reason) end)
    :ok
  end

  defp ask_park(rows, row(pid: pid, incarnation: incarnation) = row, incarnation, reason) when pid == self(),
    do: Rows.want_parked(rows, row, reason)

  # Its supervisor has not written yet that it started.
  defp ask_park(rows, row(id: id, phase: phase), incarnation, reason) when phase in [:new, :starting] do
    Process.sleep(@look)
    ask_park(rows, Rows.get(rows, id), incarnation, reason)
  end

  defp ask_park(_rows, _row, _incarnation, _reason), do: :ok

  @doc "See `Kantoku.unpark/2`."
  @spec unpark(atom, term) :: :ok | {:error, Error.t()}
  def unpark(instance, id), do: unpark(instance, id, @look)

  # A supervisor that was killed has a successor soon.
  defp unpark(instance, id, look) do
    with :supervisor_killed <- on_row(instance, id, &unpark_row/2) do
      Process.sleep(look)
      unpark(instance, id, min(look * 2, @longest_look))
    end
  end

  defp unpark_row({instance, _rows, _book}, row(phase: phase, sup: sup, id: id, gen: gen, part: part))
       when phase in [:parked, :resting] do
    Start.aside(sup, part, :release, [instance, id, gen])
    :ok
  catch
    :exit, _reason -> :supervisor_killed
  end

  defp unpark_row(_context, row(id: id)), do: {:error, Error.new(:not_parked, id: id)}

  # Asking ---------------------------------------------------------------------------------------------------------------

  @doc "See `Kantoku.fetch/2`."
  @spec fetch(atom, term) :: {:ok, pid} | {:error, Error.t()}
  def fetch(instance, id) do
    case Engine.whereis(instance, id) do
      pid when is_pid(pid) -> {:ok, pid}
      _ -> with({:ok, _context, row} <- find(instance, id), do: {:error, explain(row)})
    end
  end

  defp explain(row(wanted: false, id: id, phase: phase)) when phase != :stopped, do: Error.new(:stopping, id: id)
  defp explain(row(phase: :stopped, id: id)), do: Error.new(:not_found, id: id)

  defp explain(row(phase: phase, id: id) = row) do
    if phase == :up and Rows.restart(row) == :temporary,
      do: Error.new(:not_found, id: id),
      else: Start.excuse_for(row)
  end

  @doc "All agents with what is known of them."
  @spec list(atom) :: {:ok, [map]} | {:error, Error.t()}
  def list(instance) do
    Instances.reading(instance, fn rows, _book -> {:ok, Rows.fold(rows, 500, [], &[describe(&1) | &2])} end)
  end

  defp describe(row(id: id, domain: domain, phase: phase, pid: pid, restarts: restarts) = row) do
    # Its supervisor has not heard of its end yet.
    gone? = phase == :up and not Process.alive?(pid)

    %{
      id: id,
      domain: domain,
      status: if(gone?, do: :restarting, else: status(phase)),
      pid: if(phase == :up and not gone?, do: pid),
      restart: Rows.restart(row),
      restarts: restarts,
      module: Kantoku.Domain.Launch.module(row(row, :what))
    }
  end

  @doc "A phase as people are told."
  @spec status(Rows.phase()) :: :starting | :up | :restarting | :parked | :stopped
  def status(phase) when phase in [:new, :starting], do: :starting
  def status(phase) when phase in [:resting, :behind, :recover], do: :restarting
  def status(phase), do: phase

  # With a declared agent, `fun` is run when it is the caller's turn, on the row as it is then.
  defp in_turn({_instance, rows, book}, row(part: :group, id: id), fun),
    do: Turn.take(book, id, fn -> fun.(Rows.get(rows, id)) end)

  defp in_turn(_context, row, fun), do: fun.(row)

  defp on_row(instance, id, fun) do
    Instances.reading(instance, fn rows, book ->
      case Rows.get(rows, id) do
        nil -> {:error, Error.new(:not_found, id: id)}
        row -> fun.({instance, rows, book}, row)
      end
    end)
  end

  @doc "The row of an agent, and where it is."
  @spec find(atom, term) :: {:ok, Start.context(), Rows.row()} | {:error, Error.t()}
  def find(instance, id) do
    on_row(instance, id, &{:ok, &1, &2})
  end
end
