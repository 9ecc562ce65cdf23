defmodule Kantoku.Migration.Account do
  # Runs something for a side of a canary, and counts how it went. Without a canary it only runs it.
  @moduledoc false

  alias Kantoku.Migration.{Mode, Tally}

  @doc "What `fun` answers; what it raises, exits with or throws passes. Those, and `failed?`, count as failures."
  @spec run(Mode.gate(), Mode.side(), (() -> result), (result -> boolean)) :: result when result: term
  def run(gate, side, fun, failed? \\ &failed?/1)

  def run({:canary, _limit, tally}, side, fun, failed?) do
    begun = now()

    try do
      fun.()
    catch
      kind, reason ->
        Tally.record(tally, side, :error, 0)
        :erlang.raise(kind, reason, __STACKTRACE__)
    else
      result ->
        Tally.record(tally, side, if(failed?.(result), do: :error, else: :ok), now() - begun)
        result
    end
  end

  def run(_gate, _side, fun, _failed?), do: fun.()

  @doc "Whether an answer is a failure by its looks."
  @spec failed?(term) :: boolean
  def failed?(:error), do: true
  def failed?({:error, {:already_started, _pid}}), do: false
  def failed?({:error, _reason}), do: true
  def failed?(_answer), do: false

  defp now, do: System.monotonic_time(:microsecond)
end
