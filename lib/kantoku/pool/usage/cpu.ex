defmodule Kantoku.Pool.Usage.CPU do
  # The share that workers have of the schedulers' time. The VM times its schedulers and counts what processes do (reductions), but
  # does not time processes: so the share is how busy the schedulers were, times the workers' part of all that was done. What a worker does on
  # dirty schedulers, and native code that charges nothing, is not in it.
  @moduledoc false

  alias Kantoku.Resources.Schedulers

  @typedoc "What workers, and the VM, had done by then; `nil` of schedulers that nobody times."
  @type mark :: %{workers: %{pid => non_neg_integer}, all: non_neg_integer, schedulers: [tuple] | :undefined}

  @doc "What is so now, with what workers were seen to have done."
  @spec mark([{pid, reductions :: non_neg_integer}]) :: mark
  def mark(workers) do
    {all, _since_last} = :erlang.statistics(:reductions)
    %{workers: Map.new(workers), all: all, schedulers: :erlang.statistics(:scheduler_wall_time)}
  end

  @doc """
  The percent of the online schedulers' time that `workers` had since a mark; `nil` if that is not known. Asks those of the mark, and
  takes others to be like them. May wait for a worker.
  """
  @spec share(mark | nil, [pid]) :: float | nil
  def share(nil, _workers), do: nil
  def share(%{schedulers: :undefined}, _workers), do: nil

  def share(before, workers) do
    known =
      for pid <- workers, is_map_key(before.workers, pid), {:reductions, done} <- [reductions(pid)], do: {pid, done}

    now = mark(known)
    between(before, now, length(workers))
  end

  defp reductions(pid), do: Process.info(pid, :reductions)

  @doc "The same from two marks, of so many workers."
  @spec between(mark, mark, workers :: non_neg_integer) :: float | nil
  def between(%{schedulers: from}, %{schedulers: to}, _workers) when from == :undefined or to == :undefined, do: nil

  def between(before, now, workers) do
    steps = for {pid, done} <- now.workers, was = before.workers[pid], do: max(done - was, 0)
    busy = Schedulers.between(before.schedulers, now.schedulers)
    all = now.all - before.all

    if steps != [] and busy != nil and all > 0,
      do: 100 * busy * min(Enum.sum(steps) / length(steps) * workers / all, 1.0)
  end
end
