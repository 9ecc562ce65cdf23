defmodule Kantoku.Pool.Scaling.Recorder do
  # A pool's decisions to a file, as `Kantoku.Pool.Recording` has it. The book says where to; a process writes, so that no foreman waits
  # for a disk. It ends with its foreman, and the next one's goes on with the same file. What cannot be written ends the recording, of which
  # the foreman is told: `{:recording_failed, path, why}`.
  @moduledoc false
  require Logger

  alias Kantoku.Pool.Recording
  alias Kantoku.Pool.Scaler.Decision

  @typedoc "Who writes, and where."
  @type t :: {Path.t(), pid} | nil

  @doc "Begins a file for a pool's decisions, in place of one that is being written; `nil` ends it. Raises `File.Error`."
  @spec record(:ets.tid(), atom, Path.t() | nil) :: true
  def record(book, pool, nil), do: :ets.delete(book, {:pool_record, pool})

  def record(book, pool, path) do
    File.write!(path, Recording.first_line())
    :ets.insert(book, {{:pool_record, pool}, Path.expand(path)})
  end

  @doc "Passes a decision on, if the book says that it is to be written. The first of all has no rate of arrivals, and is of no use."
  @spec tell(t, :ets.tid(), atom, Decision.t()) :: t
  def tell(recorder, book, pool, decision) do
    recorder = in_office(recorder, path(book, pool), fn -> record(book, pool, nil) end)
    if recorder && decision.observation.metrics.arrival_rate, do: send(elem(recorder, 1), {:line, decision})
    recorder
  end

  defp path(book, pool) do
    case :ets.lookup(book, {:pool_record, pool}) do
      [{_key, path}] -> path
      [] -> nil
    end
  end

  defp in_office({path, _pid} = recorder, path, _give_up), do: recorder

  defp in_office(recorder, path, give_up) do
    if recorder, do: send(elem(recorder, 1), :stop)
    foreman = self()
    if path, do: {path, spawn_link(fn -> open(path, &failed(foreman, &1, &2, give_up)) end)}
  end

  defp open(path, failed) do
    with {:ok, file} <- :file.open(path, [:append, :raw]), {:error, why} <- write(file, nil) do
      failed.(path, why)
    else
      {:error, why} -> failed.(path, why)
      :stopped -> :ok
    end
  end

  # The same time twice is not for a trace.
  defp write(file, last) do
    receive do
      {:line, %{at: ^last}} -> write(file, last)
      {:line, decision} -> with :ok <- :file.write(file, Recording.line(decision)), do: write(file, decision.at)
      :stop -> :stopped
    end
  end

  defp failed(foreman, path, why, give_up) do
    Logger.warning("#{path} cannot be written (#{:file.format_error(why)}), so decisions are not recorded any more")
    give_up.()
    send(foreman, {:recording_failed, path, why})
  end
end
