defmodule Kantoku.Footprint do
  @moduledoc """
  What this VM takes of its machine and of itself: file descriptors, threads, resident memory, processes, ports, atoms.
  """

  @doc "All of it, now."
  def take do
    %{
      fds: length(File.ls!("/proc/self/fd")),
      threads: length(File.ls!("/proc/self/task")),
      rss: rss(),
      processes: :erlang.system_info(:process_count),
      ports: :erlang.system_info(:port_count),
      atoms: :erlang.system_info(:atom_count)
    }
  end

  @doc "Resident memory, in bytes."
  def rss do
    {:ok, status} = File.read("/proc/self/status")
    [_, kilobytes] = Regex.run(~r/VmRSS:\s+(\d+) kB/, status)
    String.to_integer(kilobytes) * 1_024
  end

  @doc "Two of them side by side, for who reads what a soak prints."
  def compare(before, later) do
    for {what, count} <- before, into: "", do: " #{what} #{shown(what, count)} -> #{shown(what, later[what])},"
  end

  defp shown(:rss, bytes), do: "#{div(bytes, 1_048_576)} MB"
  defp shown(_what, count), do: "#{count}"
end
