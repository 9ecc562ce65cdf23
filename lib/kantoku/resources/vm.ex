defmodule Kantoku.Resources.VM do
  @moduledoc false
  # What the VM says of itself, and the operating system of it. Keeps nothing.

  alias Kantoku.Resources.{Carried, OS, Schedulers}

  @type used :: %{count: non_neg_integer, limit: pos_integer}

  @type t :: %{
          schedulers: %{
            online: pos_integer,
            utilization: float | nil,
            dirty_cpu_utilization: float | nil,
            dirty_io_utilization: float | nil,
            run_queues: [non_neg_integer],
            dirty_cpu_run_queue: non_neg_integer,
            dirty_io_run_queue: non_neg_integer
          },
          memory: %{atom => non_neg_integer},
          processes: used,
          ports: used,
          atoms: used,
          tables: used,
          dets: non_neg_integer,
          reductions: non_neg_integer,
          io: %{input: non_neg_integer, output: non_neg_integer, unattributed: Carried.io()},
          distribution: [
            %{
              node: node,
              input: non_neg_integer | nil,
              output: non_neg_integer | nil,
              pending: non_neg_integer | nil
            }
          ],
          os: OS.t() | nil
        }

  @spec read(utilization :: (Schedulers.kind() -> float | nil), unattributed :: Carried.io()) :: t
  def read(utilization, unattributed) do
    {{:input, input}, {:output, output}} = :erlang.statistics(:io)
    {reductions, _since} = :erlang.statistics(:reductions)

    %{
      schedulers: Map.merge(run_queues(), busy(utilization)),
      memory: Map.new(:erlang.memory()),
      processes: used(:process_count, :process_limit),
      ports: used(:port_count, :port_limit),
      atoms: used(:atom_count, :atom_limit),
      tables: used(:ets_count, :ets_limit),
      dets: dets(),
      reductions: reductions,
      io: %{input: input, output: output, unattributed: unattributed},
      distribution: Enum.map(:erlang.system_info(:dist_ctrl), &connection/1),
      os: OS.read("/proc/self")
    }
  end

  defp busy(utilization) do
    %{
      utilization: utilization.(:normal),
      dirty_cpu_utilization: utilization.(:dirty_cpu),
      dirty_io_utilization: utilization.(:dirty_io)
    }
  end

  # The last two are those of dirty schedulers.
  defp run_queues do
    {normal, [cpu, io]} = :run_queue_lengths_all |> :erlang.statistics() |> Enum.split(-2)

    %{
      online: :erlang.system_info(:schedulers_online),
      run_queues: normal,
      dirty_cpu_run_queue: cpu,
      dirty_io_run_queue: io
    }
  end

  defp used(count, limit), do: %{count: :erlang.system_info(count), limit: :erlang.system_info(limit)}

  # Asking for them starts their server where nobody has opened one.
  defp dets, do: if(Process.whereis(:dets), do: length(:dets.all()), else: 0)

  # Over TLS a connection is a process, which has no counts of its own.
  defp connection({node, port}) when is_port(port) do
    case :inet.getstat(port, [:recv_oct, :send_oct, :send_pend]) do
      {:ok, [recv_oct: input, send_oct: output, send_pend: pending]} ->
        %{node: node, input: input, output: output, pending: pending}

      {:error, _closed} ->
        connection({node, nil})
    end
  end

  defp connection({node, _process}), do: %{node: node, input: nil, output: nil, pending: nil}
end
