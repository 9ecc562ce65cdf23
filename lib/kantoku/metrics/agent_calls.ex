defmodule Kantoku.Metrics.AgentCalls do
  # How long calls to agents take, by what they are. One in 16 is timed and stands for all, as in pools, so that the others pay for a
  # number and no more. Knows no message.
  @moduledoc false

  alias Kantoku.Instances
  alias Kantoku.Metrics.{Own, Whose}

  @name "kantoku_agent_call_duration_seconds"
  @one_in 16

  @doc "Whether this call is one that is timed. Numbers of a scheduler come in steps, hence the hash."
  defmacro timed? do
    quote do: :erlang.phash2(:erlang.unique_integer(), unquote(@one_in)) == 0
  end

  @doc "Makes a call, and says how long it took, for all whom it stands for."
  @spec time(atom, term, (() -> answer)) :: answer when answer: term
  def time(instance, id, call) do
    begun = System.monotonic_time()
    answer = call.()
    said(instance, id, System.monotonic_time() - begun)
    answer
  end

  defp said(instance, id, duration) do
    with {:ok, {rows, _book}} <- Instances.tables(instance),
         do: Own.time(instance, @name, duration, Whose.of(rows, id), @one_in)
  rescue
    # It ended meanwhile.
    ArgumentError -> :ok
  end
end
