defmodule Kantoku.ExportingVM do
  # What a VM of its own does in tests of exporters.
  @moduledoc false

  @doc "Starts an instance that does not end with who asks from outside."
  def start(options) do
    with {:ok, pid} <- Kantoku.start_link(options) do
      Process.unlink(pid)
      {:ok, pid}
    end
  end

  @doc "Calls an agent below the context in the headers of a request."
  def serve(instance, id, headers, request),
    do: Kantoku.call(instance, id, request, trace: Kantoku.Trace.extract(headers))

  @doc "Holds every scheduler for so many ms."
  def keep_busy(ms) do
    until = System.monotonic_time(:millisecond) + ms

    for _ <- 1..(System.schedulers_online() * 2) do
      spawn(fn ->
        Process.flag(:priority, :max)
        spin(until)
      end)
    end

    :ok
  end

  defp spin(until), do: if(System.monotonic_time(:millisecond) < until, do: spin(until))

  @doc "Kills all who may keep exporters, and the application with them."
  def kill_all do
    for name <- [Kantoku.Supervisor, Kantoku.Application, Kantoku.Exporters.Keeper],
        pid = Process.whereis(name),
        do: Process.exit(pid, :kill)

    :ok
  end
end
