defmodule Kantoku.Resources.OS do
  @moduledoc false
  # What Linux says of a process, in its folder of `/proc`. Knows no VM.

  # Linux tells times in hundredths of a second, whatever its own clock (`USER_HZ`, time(7)).
  @ticks 100

  @typedoc "Seconds of processor time, and bytes in memory."
  @type t :: %{cpu_seconds: float, resident: non_neg_integer, threads: pos_integer}

  @doc "What is told; `nil` where it is not."
  @spec read(Path.t()) :: t | nil
  def read(folder) do
    with {:ok, stat} <- File.read(Path.join(folder, "stat")),
         {:ok, status} <- File.read(Path.join(folder, "status")),
         {:ok, ticks} <- ticks(stat),
         [_all, resident] <- Regex.run(~r/^VmRSS:\s+(\d+) kB/m, status),
         [_all, threads] <- Regex.run(~r/^Threads:\s+(\d+)/m, status) do
      %{cpu_seconds: ticks / @ticks, resident: String.to_integer(resident) * 1024, threads: String.to_integer(threads)}
    else
      _not_linux -> nil
    end
  end

  # Its name, in parentheses, may have any characters; user and system time are the 12th and 13th fields after it (proc(5)).
  defp ticks(stat) do
    case stat |> String.split(")") |> List.last() |> String.split() |> Enum.slice(11, 2) do
      [user, system] -> {:ok, String.to_integer(user) + String.to_integer(system)}
      _short -> :error
    end
  end
end
