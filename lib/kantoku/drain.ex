defmodule Kantoku.Drain do
  # Takes a domain, or the whole instance, out of service in order: refuse new work, let what is in flight finish, stop. Decides
  # nothing about restarts: it unwants what it stops.
  @moduledoc false
  import Kantoku.Domain.Rows

  alias Kantoku.{Agents, Instances, Telemetry}
  alias Kantoku.Domain.{Book, Gauges, Launch, Rows, Start}
  alias Kantoku.Drain.Work
  alias Kantoku.Pool.Life

  # Between two looks at what is still at work, in ms.
  @look 10

  @doc "Whether a caller may give an agent new work now. Who is an agent of the instance itself may, to finish its own."
  @spec admits?(atom, term) :: boolean
  def admits?(instance, id) do
    gauges = Instances.gauges(instance)
    gauges == nil or not Gauges.any_draining?(gauges) or not draining?(instance, id) or own?(instance)
  end

  defp draining?(instance, id) do
    case Agents.find(instance, id) do
      {:ok, {_instance, _rows, book}, row(domain: domain)} -> Gauges.draining?(Book.chain(book, domain))
      {:error, _} -> Gauges.draining?([Instances.gauges(instance)])
    end
  end

  defp own?(instance), do: match?([_ | _], Kantoku.Engine.keys(instance, self()))

  @doc "Drains a domain and those in it; `nil` is the whole instance. `timeout` ms for work in flight."
  @spec run(Start.context(), Kantoku.Domain.name() | nil, non_neg_integer) :: Kantoku.drained()
  def run({instance, rows, book}, domain, timeout) do
    begun = System.monotonic_time()
    Gauges.set_draining(Book.chain(book, domain), true)
    domains = below(book, domain)
    Life.refresh(book, pools(domains))
    agents = up(rows, domains)
    Telemetry.emit(instance, [:drain, :start], %{agents: length(agents), deadline: timeout}, %{domain: domain})
    cut_off = finish({instance, rows, book}, domain, domains, now() + timeout, begun)
    Life.cut_off(book, instance, pools(domains))
    stop_tree({instance, rows, book}, domain, domain, begun)
    report(instance, domain, agents, cut_off, begun)
  end

  defp report(instance, domain, agents, cut_off, begun) do
    result = if cut_off == [], do: :complete, else: :cut_off
    measurements = %{duration: since(begun), cut_off: length(cut_off)}
    Telemetry.emit(instance, [:drain, :stop], measurements, %{domain: domain, result: result})
    duration = System.convert_time_unit(since(begun), :native, :millisecond)
    %{agents: length(agents), stopped: length(agents), cut_off: cut_off, duration: duration}
  end

  defp below(book, domain) do
    own = if domain, do: [domain], else: []
    own ++ Enum.flat_map(Book.shape(book, domain).nested, &below(book, &1))
  end

  defp pools(domains), do: for({:pool, pool} <- domains, do: pool)

  defp up(rows, domains) do
    for domain <- domains,
        row(phase: :up, id: id, pid: pid, what: what) <- Rows.of(rows, domain),
        do: {id, pid, Launch.kind(what)}
  end

  # Work in flight -------------------------------------------------------------------------------------------------------

  # Work may move from one agent to another, so every look is at all of them.
  defp finish({instance, rows, _book} = context, domain, domains, deadline, begun) do
    agents = up(rows, domains)

    case Life.unfinished(instance, pools(domains)) ++ Work.unfinished(instance, agents, deadline) do
      [] ->
        step(instance, domain, :finished, [], begun)

      busy ->
        if now() >= deadline do
          step(instance, domain, :deadline, busy, begun)
        else
          Process.sleep(@look)
          finish(context, domain, domains, deadline, begun)
        end
    end
  end

  defp step(instance, domain, step, left, begun) do
    measurements = %{duration: since(begun), remaining: length(left)}
    Telemetry.emit(instance, [:drain, :step], measurements, %{domain: domain, step: step})
    left
  end

  # Stopping -------------------------------------------------------------------------------------------------------------

  defp stop_tree({_instance, _rows, book} = context, domain, drained, begun) do
    shape = Book.shape(book, domain)
    dynamic = if domain, do: Enum.to_list(0..(shape.partitions - 1)), else: []
    group = if shape.declared == [], do: [], else: [:group]
    nested = fn -> shape.nested |> Enum.reverse() |> Enum.each(&stop_tree(context, &1, drained, begun)) end

    case shape.stop_order do
      :dynamic_first -> [stop_parts(context, domain, dynamic), nested.(), stop_parts(context, domain, group)]
      :declared_first -> [stop_parts(context, domain, group), stop_parts(context, domain, dynamic), nested.()]
    end

    if domain, do: step(elem(context, 0), drained, {:stopped, domain}, [], begun)
  end

  # Partitions stop side by side, and the agents of one as well: only one supervisor must not wait for another.
  defp stop_parts(context, domain, parts) do
    parts
    |> Task.async_stream(&stop_part(context, domain, &1), max_concurrency: 64, timeout: :infinity)
    |> Stream.run()
  end

  defp stop_part({_instance, rows, book} = context, domain, part) do
    for row <- Rows.of(rows, domain, part), do: Rows.unwant(rows, row)
    stop_supervisor(Book.seated(book, {:pair, domain, part}))
    for row <- Rows.of(rows, domain, part), do: Start.strike(context, row, :drained)
  end

  defp stop_supervisor(nil), do: :ok

  defp stop_supervisor(pair) do
    Supervisor.terminate_child(pair, :agents)
  catch
    :exit, _already_gone -> :ok
  end

  defp since(begun), do: System.monotonic_time() - begun
  defp now, do: System.monotonic_time(:millisecond)
end
