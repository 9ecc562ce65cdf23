defmodule Bench.Schedulers do
  @moduledoc false
  # How busy this VM's normal schedulers are: the share of their time in which they ran something, waiting and spinning left out.

  @doc "Runs `work`; its answer, and the share (0 to 1) of all schedulers' time that was spent meanwhile."
  @spec busy((() -> answer)) :: {answer, float} when answer: term
  def busy(work) do
    before = :erlang.system_flag(:scheduler_wall_time, true)
    first = sample()
    answer = work.()
    last = sample()
    :erlang.system_flag(:scheduler_wall_time, before)
    {answer, share(first, last)}
  end

  defp sample do
    normal = :erlang.system_info(:schedulers)
    for {id, active, total} <- :erlang.statistics(:scheduler_wall_time), id <= normal, do: {active, total}
  end

  defp share(first, last) do
    {active, total} =
      Enum.zip_reduce(first, last, {0, 0}, fn {active, total}, {active_then, total_then}, {sum, all} ->
        {sum + active_then - active, all + total_then - total}
      end)

    active / max(total, 1)
  end
end
