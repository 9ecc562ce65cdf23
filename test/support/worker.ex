defmodule Kantoku.TestWorker do
  @moduledoc """
  An OTP process as an agent: does what a test asks of it, tells the test of each of its starts, and starts as slowly, deafly or
  badly as asked.

  Options: `:tell` (pid that gets `{:started, id, pid}`), `:id`, `:slow` (ms in `init/1`), `:trap`, `:refuse` (an `:atomics` of one
  cell: while it is above 0 a start fails, and takes one off), `:linger` (ms in `terminate/2`), `:pulls` (a pool whose calls it answers by
  `Kantoku.Pool.reply/3`).
  """
  use GenServer

  def start_link(opts), do: GenServer.start_link(__MODULE__, Map.new(opts))

  @impl true
  def init(opts) do
    if opts[:trap], do: Process.flag(:trap_exit, true)
    if opts[:tell], do: send(opts[:tell], {:started, opts[:id], self()})
    if opts[:slow], do: Process.sleep(opts[:slow])
    if refuse?(opts[:refuse]), do: {:stop, :refused}, else: {:ok, opts}
  end

  defp refuse?(nil), do: false
  defp refuse?(cell), do: :atomics.sub_get(cell, 1, 1) >= 0

  @impl true
  def handle_call(request, from, %{pulls: pool} = opts) do
    Kantoku.Pool.reply(pool, from, done(request))
    {:noreply, opts}
  end

  def handle_call(request, _from, opts), do: {:reply, done(request), opts}

  @impl true
  def handle_cast({:stop, reason}, opts), do: {:stop, reason, opts}
  def handle_cast({:run, fun}, opts), do: {:noreply, tap(opts, fn _ -> fun.() end)}

  @impl true
  def handle_info({:EXIT, _from, _reason}, opts), do: {:noreply, opts}

  @impl true
  def terminate(_reason, opts) do
    if opts[:tell], do: send(opts[:tell], {:terminated, opts[:id]})
    if opts[:linger], do: Process.sleep(opts[:linger])
  end

  defp done(:pid), do: self()
  defp done({:sleep, ms}), do: Process.sleep(ms)
  defp done({:run, fun}), do: fun.()
  defp done({:exit, reason}), do: exit(reason)
end
