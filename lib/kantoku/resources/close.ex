defmodule Kantoku.Resources.Close do
  # A close look at one process, which it has to answer itself, by somebody who may be given up. Keeps nothing.
  @moduledoc false

  alias Kantoku.Error
  alias Kantoku.Resources.{Board, Carried, Figures, Traffic}

  @doc "What an agent's process uses; if there is a board, its work since it was last looked at, and what its ports carried."
  @spec look({instance :: atom, id :: term}, pid, :ets.tid() | nil, timeout :: pos_integer) ::
          {:ok, map} | {:error, Error.t()}
  def look({instance, id}, pid, board, timeout) do
    {looker, ref} = spawn_monitor(fn -> exit({:seen, seen(instance, pid, board)}) end)
    await(looker, ref, id, timeout)
  end

  defp await(looker, ref, id, timeout) do
    receive do
      {:DOWN, ^ref, :process, ^looker, {:seen, nil}} -> {:error, Error.new(:not_found, id: id)}
      {:DOWN, ^ref, :process, ^looker, {:seen, seen}} -> {:ok, seen}
      {:DOWN, ^ref, :process, ^looker, _failed} -> {:error, Error.new(:not_found, id: id)}
    after
      timeout ->
        Process.exit(looker, :kill)
        Process.demonitor(ref, [:flush])
        {:error, Error.new(:timeout, id: id, timeout: timeout)}
    end
  end

  defp seen(instance, pid, board) do
    with {figures, _burden} <- Figures.of(pid),
         [memory: memory, binary: binaries] <- Process.info(pid, [:memory, :binary]) do
      references = binaries |> Enum.uniq_by(&elem(&1, 0)) |> length()

      own = %{
        process: memory,
        references: references,
        io: board && carried(instance, pid),
        reductions: rate(board, pid, figures.work)
      }

      figures |> Map.delete(:work) |> Map.merge(own)
    end
  end

  defp carried(instance, pid) do
    Traffic.look()
    Carried.by(instance, pid)
  end

  defp rate(nil, _pid, _work), do: nil
  defp rate(board, pid, work), do: Board.rate(board, pid, work, System.monotonic_time(:millisecond))
end
