defmodule Kantoku.Resources.Close do
  # A close look at one process, which it has to answer itself, by somebody who may be given up. Keeps nothing.
  @moduledoc false

  alias Kantoku.Error
  alias Kantoku.Resources.{Board, Figures, Ports}

  @doc "What a process uses; its work since it was last looked at, if there is a board."
  @spec look(pid, :ets.tid() | nil, id :: term, timeout :: pos_integer) :: {:ok, map} | {:error, Error.t()}
  def look(pid, board, id, timeout) do
    {looker, ref} = spawn_monitor(fn -> exit({:seen, seen(pid, board)}) end)
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

  defp seen(pid, board) do
    with {figures, _burden} <- Figures.of(pid),
         [memory: memory, binary: binaries, links: links] <- Process.info(pid, [:memory, :binary, :links]) do
      references = binaries |> Enum.uniq_by(&elem(&1, 0)) |> length()

      own = %{
        process: memory,
        references: references,
        io: Ports.of(pid, links),
        reductions: rate(board, pid, figures.work)
      }

      figures |> Map.delete(:work) |> Map.merge(own)
    end
  end

  defp rate(nil, _pid, _work), do: nil
  defp rate(board, pid, work), do: Board.rate(board, pid, work, System.monotonic_time(:millisecond))
end
