defmodule Kantoku.Trace.Underway do
  # The recorded spans that processes are in and that are no agent's work (`Kantoku.Trace.Cuts`): calls that wait for an answer, steps of a user's,
  # workers that somebody has for himself. Whoever is killed does not come out of them, and what is below them would have no parent. Rows, in
  # a table of the application:
  #
  #   {{pid, span}, instance, :step | :lease, open}
  #
  # C2: a span whose process is dead, and one of a lease, is handed in once: by whoever takes its row out of the table.
  @moduledoc false

  import Kantoku.Trace.Open, only: [open: 1, open: 2, place: 1]
  alias Kantoku.Trace.{Finished, Open}

  # So many rows at most; a span beyond that is told by who comes out of it, or not at all.
  @most 100_000

  @spec new_table() :: :ok
  def new_table do
    # How many rows there are is asked for each: counted apart by scheduler, that would take as long as all the rest.
    options = [write_concurrency: true, decentralized_counters: false]
    :ets.new(__MODULE__, [:named_table, :public, :ordered_set] ++ options)
    :ok
  end

  @doc "This process is in that span; whether it has a row by that."
  @spec enter(Open.t(), :step | :lease) :: boolean
  def enter(open(config: %{instance: instance}) = open, what \\ :step),
    do: room?() and :ets.insert(__MODULE__, {key(open), instance, what, open(open, outer: nil)})

  defp room?, do: :ets.info(__MODULE__, :size) < @most

  defp key(open(place: place(span: span))), do: {self(), span}

  @doc "It came out of it; whether nobody else has told its end."
  @spec leave(Open.t()) :: boolean
  def leave(open), do: :ets.take(__MODULE__, key(open)) != []

  @doc "Ends the spans of a process that is dead."
  @spec cut_off(pid) :: :ok
  def cut_off(pid), do: each([{{{pid, :"$1"}, :_, :_, :_}, [], [{{{:const, pid}, :"$1"}}]}], &end_of/1)

  @doc "Ends those of an instance whose processes are dead."
  @spec sweep(atom) :: :ok
  def sweep(instance), do: each(of(instance), fn {pid, _span} = key -> Process.alive?(pid) || end_of(key) end)

  @doc """
  Ends them as the instance ends, and the leases, which end with it. Who waits for an answer is told that there is none, and knows by itself.
  """
  @spec close(atom) :: :ok
  def close(instance) do
    sweep(instance)
    each(of(instance), &closed/1)
  end

  defp closed(key) do
    case :ets.lookup(__MODULE__, key) do
      [{_key, _instance, :lease, _open}] -> end_of(key)
      _step -> :ok
    end
  end

  defp of(instance), do: [{{:"$1", instance, :_, :_}, [], [:"$1"]}]

  defp each(matching, fun), do: __MODULE__ |> :ets.select(matching) |> Enum.each(fun)

  defp end_of(key) do
    case :ets.take(__MODULE__, key) do
      [{_key, _instance, _what, open}] -> Finished.cut_off(open)
      [] -> :ok
    end
  end
end
