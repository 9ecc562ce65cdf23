defmodule Kantoku.Degradation.Reading do
  # How much memory there is and is used, and how long run queues are, as Linux and the VM say. Decides nothing.
  #
  # The limit is the least of the machine's and those of our cgroup and all around it, as each of them may be what ends us. What counts
  # as used there is what Kubernetes calls the working set: without inactive files, which the kernel drops before it kills anybody.
  @moduledoc false

  @typedoc "Bytes, and whose limit it is."
  @type memory :: {used :: non_neg_integer, limit :: pos_integer, :cgroup | :host} | :unknown

  @type t :: %{memory: memory, run_queue: number | :unknown}

  @doc "How things stand."
  @spec now() :: t
  def now, do: %{memory: memory("/"), run_queue: run_queue()}

  @doc "How many processes that could run wait for each scheduler that is online."
  @spec run_queue() :: float
  def run_queue,
    do: :erlang.statistics(:total_run_queue_lengths) / :erlang.system_info(:schedulers_online)

  @doc "Memory by the files below `root`."
  @spec memory(Path.t()) :: memory
  def memory(root) do
    case cgroups(root) ++ host(root) do
      [] -> :unknown
      limits -> Enum.min_by(limits, fn {_used, limit, _source} -> limit end)
    end
  end

  # The machine ------------------------------------------------------------------------------------------------------------

  defp host(root) do
    with {:ok, text} <- File.read(Path.join(root, "proc/meminfo")),
         total when is_integer(total) and total > 0 <- field(text, ~r/^MemTotal:\s+(\d+) kB/m),
         available when is_integer(available) <- field(text, ~r/^MemAvailable:\s+(\d+) kB/m) do
      [{max(total - available, 0) * 1024, total * 1024, :host}]
    else
      _not_told -> []
    end
  end

  # Cgroups ------------------------------------------------------------------------------------------------------------------

  # Lines of id:controllers:path; 0 and no controller is version 2's.
  defp cgroups(root) do
    case File.read(Path.join(root, "proc/self/cgroup")) do
      {:ok, text} -> text |> String.split("\n", trim: true) |> Enum.flat_map(&cgroup(&1, root))
      {:error, _none} -> []
    end
  end

  defp cgroup(line, root) do
    case String.split(line, ":", parts: 3) do
      ["0", "", path] ->
        around(root, "sys/fs/cgroup", path, {"memory.max", "memory.current", ~r/^inactive_file (\d+)/m})

      [_id, controllers, path] ->
        if "memory" in String.split(controllers, ","),
          do: around(root, "sys/fs/cgroup/memory", path, v1_files()),
          else: []

      _other ->
        []
    end
  end

  defp v1_files, do: {"memory.limit_in_bytes", "memory.usage_in_bytes", ~r/^total_inactive_file (\d+)/m}

  # It and all around it, up to the top of what is mounted here. In a container the path may be one of the host's, of which here is
  # only the end: then the top is ours.
  defp around(root, mount, path, files) do
    steps = path |> String.split("/", trim: true) |> Enum.reject(&(&1 == ".."))

    for depth <- length(steps)..0//-1,
        folder = Path.join([root, mount | Enum.take(steps, depth)]),
        limit <- limit(folder, files),
        do: limit
  end

  # No limit is "max" in version 2, and a number beyond any machine's in version 1.
  @none 0x1000000000000000

  defp limit(folder, {limit, usage, inactive}) do
    with {:ok, limit} when limit > 0 and limit < @none <- number(folder, limit),
         {:ok, used} <- number(folder, usage) do
      [{max(used - inactive(folder, inactive), 0), limit, :cgroup}]
    else
      _none -> []
    end
  end

  defp number(folder, name) do
    with {:ok, text} <- File.read(Path.join(folder, name)),
         {number, rest} when rest in ["", "\n"] and number >= 0 <- Integer.parse(text) do
      {:ok, number}
    else
      _max_or_missing -> :error
    end
  end

  defp inactive(folder, pattern) do
    case File.read(Path.join(folder, "memory.stat")) do
      {:ok, text} -> field(text, pattern) || 0
      {:error, _none} -> 0
    end
  end

  defp field(text, pattern) do
    case Regex.run(pattern, text) do
      [_all, number] -> String.to_integer(number)
      nil -> nil
    end
  end
end
