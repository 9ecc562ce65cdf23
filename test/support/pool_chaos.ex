defmodule Kantoku.PoolChaos do
  @moduledoc """
  A pool of `Kantoku.TestWorker`s under a storm: clients that call, cast, check out, hand in twice and hand in others' are killed at it, so
  are workers, their supervisors and the foreman, and the pool is resized. What must hold all the while: no worker is held by more living clients than it
  has permits. What must hold in the end is for the test to see.
  """
  import Kantoku.TestOwner, only: [kill: 1]

  alias Kantoku.Domain.Book
  alias Kantoku.Pool

  @doc """
  Hits something so many times, or for so many ms; answers how often what was hit, what those were answered that were never killed, and
  which workers were held by too many. Options: `:workers`, `:max_ongoing`, `:casts` (whether there are).
  """
  @spec run(Pool.t(), {:times | :ms, pos_integer}, map) :: %{hits: map, answers: map, doubles: list}
  def run(pool, how_long, opts) do
    held = :ets.new(:held, [:public, :bag, write_concurrency: true])
    client = fn -> spawn(fn -> client(pool, Map.put(opts, :held, held)) end) end
    steady = for _ <- 1..4, do: Task.async(fn -> steady(pool, %{}) end)
    {clients, hits} = storm({pool, client, opts}, Enum.map(1..12, fn _ -> client.() end), last(how_long), %{})
    Enum.each(clients, &kill/1)
    :ok = Pool.update(pool, target: opts.workers)
    for %{pid: pid} <- steady, do: send(pid, :enough)
    answers = steady |> Task.await_many(60_000) |> Enum.reduce(&add/2)
    %{hits: hits, answers: answers, doubles: :ets.lookup(held, :doubles)}
  end

  defp add(one, other), do: Map.merge(one, other, fn _answer, a, b -> a + b end)

  # What is done to it ---------------------------------------------------------------------------------------------------

  defp last({:times, times}), do: {:times, times}
  defp last({:ms, ms}), do: {:until, now() + ms}

  defp storm(context, clients, last, hits) do
    if over?(last, hits) do
      {clients, hits}
    else
      Process.sleep(Enum.random(0..2))
      kind = Enum.random([:client, :client, :client, :client, :worker, :worker, :foreman, :resize, :supervisor])
      storm(context, strike(kind, context, clients), last, Map.update(hits, kind, 1, &(&1 + 1)))
    end
  end

  defp over?({:times, times}, hits), do: hits |> Map.values() |> Enum.sum() >= times
  defp over?({:until, time}, _hits), do: now() >= time

  defp now, do: System.monotonic_time(:millisecond)

  defp strike(:client, {_pool, client, _opts}, clients) do
    victim = Enum.random(clients)
    Process.exit(victim, :kill)
    [client.() | List.delete(clients, victim)]
  end

  defp strike(:worker, {pool, _client, _opts}, clients) do
    with {:ok, [_ | _] = workers} <- Pool.workers(pool),
         %{pid: pid} when is_pid(pid) <- Enum.random(workers),
         do: Process.exit(pid, :kill)

    clients
  end

  defp strike(:foreman, {{instance, name}, _client, _opts}, clients) do
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    Process.exit(Pool.Notes.foreman(book, name), :kill)
    clients
  end

  defp strike(:supervisor, {{instance, name}, _client, _opts}, clients) do
    {:ok, {_rows, book}} = Kantoku.Instances.tables(instance)
    [_ | _] = pids = for part <- 0..3, pid = Book.supervisor(book, {:pool, name}, part), do: pid
    Process.exit(Enum.random(pids), :kill)
    clients
  end

  defp strike(:resize, {pool, _client, opts}, clients) do
    :ok = Pool.update(pool, target: Enum.random(1..(2 * opts.workers)))
    clients
  end

  # Who asks -------------------------------------------------------------------------------------------------------------

  defp client(pool, opts) do
    ask(:rand.uniform(if(opts.casts, do: 8, else: 7)), pool, opts)
    client(pool, opts)
  end

  defp ask(1, pool, _opts), do: Pool.call(pool, {:sleep, 1}, timeout: 2)
  defp ask(2, pool, _opts), do: Pool.call(pool, :pid, timeout: 1, replies: :fast)
  defp ask(3, pool, opts), do: Pool.run(pool, &holding(&1, opts, fn -> Process.sleep(1) end))

  defp ask(4, pool, _opts) do
    Pool.run(pool, fn pid -> GenServer.call(pid, {:sleep, 2}, 1) end)
  catch
    :exit, _too_late -> :ok
  end

  defp ask(5, pool, opts) do
    with {:ok, lease} <- Pool.checkout(pool, timeout: 3) do
      holding(lease.pid, opts, fn -> :erlang.yield() end)
      for _ <- 1..2, do: Pool.checkin(lease, Enum.random([:ok, :error, :abandoned]))
    end
  end

  defp ask(6, pool, opts) do
    with {:ok, lease} <- Pool.checkout(pool, timeout: 3) do
      holding(lease.pid, opts, fn ->
        {stranger, ref} = spawn_monitor(fn -> {:error, _} = Pool.checkin(lease) end)
        receive do: ({:DOWN, ^ref, :process, ^stranger, _reason} -> :ok)
      end)

      Pool.checkin(lease)
    end
  end

  defp ask(7, pool, _opts), do: Pool.call(pool, :pid, tenant: :rand.uniform(3), priority: Enum.random([:high, :low]))
  defp ask(8, pool, _opts), do: Pool.cast(pool, {:run, fn -> :erlang.yield() end})

  defp holding(worker, %{held: held, max_ongoing: max}, fun) do
    :ets.insert(held, {worker, self()})
    holders = for {_worker, holder} <- :ets.lookup(held, worker), Process.alive?(holder), do: holder
    if length(holders) > max, do: :ets.insert(held, {:doubles, {worker, holders}})
    fun.()
    :ets.delete_object(held, {worker, self()})
  end

  # Is never killed, and counts what it was answered.
  defp steady(pool, answers) do
    receive do
      :enough -> answers
    after
      0 -> steady(pool, Map.update(answers, answer(Pool.call(pool, {:sleep, 1}, timeout: 10_000)), 1, &(&1 + 1)))
    end
  end

  defp answer({:ok, _reply}), do: :ok
  defp answer({:error, %Kantoku.Error{reason: reason}}), do: reason
end
