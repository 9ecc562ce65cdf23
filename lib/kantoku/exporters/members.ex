defmodule Kantoku.Exporters.Members do
  # Which instances want what exported, in a table that lives as long as the application, so that it outlives who exports. Knows nothing of the
  # library.
  #
  # Rows: {instance, pid, number, config, started?}, whose number says who came first; and {{:refused}, [{part, why}]}, what cannot be started.
  @moduledoc false

  alias Kantoku.Error
  alias Kantoku.Exporters.Config

  @table __MODULE__

  @type member :: {instance :: atom, pid, number :: integer, Config.t(), started? :: boolean}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ok
  end

  @spec join(atom, pid, Config.t()) :: true
  def join(instance, pid, config),
    do: :ets.insert(@table, {instance, pid, :erlang.unique_integer([:monotonic]), config, false})

  @doc "Says that an instance has started."
  @spec started(atom) :: boolean
  def started(instance), do: :ets.update_element(@table, instance, {5, true})

  @doc "Takes away what a process wanted; its successor under the same name stays."
  @spec leave(atom, pid) :: true
  def leave(instance, pid) do
    for {^instance, ^pid, _number, _config, _started?} = row <- :ets.lookup(@table, instance),
        do: :ets.delete_object(@table, row)

    true
  end

  @doc "Whether anybody wants to be served over HTTP."
  @spec http?() :: boolean
  def http?,
    do:
      Enum.any?(all(), fn {_instance, pid, _number, config, _started?} -> config.http != nil and Process.alive?(pid) end)

  @doc "Whether an instance wants its spans sent."
  @spec traced?(atom) :: boolean
  def traced?(instance) do
    case :ets.lookup(@table, instance) do
      [{_instance, _pid, _number, %{exporters: exporters}, _started?}] -> List.keymember?(exporters, :otlp_traces, 0)
      [] -> false
    end
  end

  @doc "Those that live: who was killed could not leave."
  @spec living() :: [member]
  def living, do: for({_instance, pid, _, _, _} = member <- all(), Process.alive?(pid), do: member)

  @doc "All, who came first first."
  @spec all() :: [member]
  def all, do: @table |> :ets.match_object({:_, :_, :_, :_, :_}) |> Enum.sort_by(&elem(&1, 2))

  @doc "What cannot be started now."
  @spec put_refused([{part :: term, Error.t()}]) :: true
  def put_refused(refused), do: :ets.insert(@table, {{:refused}, refused})

  @doc "Of that, what an instance that wants something exported has to know of: all, as what is exported is the VM's."
  @spec refused(atom) :: [{part :: term, Error.t()}]
  def refused(instance) do
    with true <- :ets.member(@table, instance), [{_key, refused}] <- :ets.lookup(@table, {:refused}) do
      refused
    else
      _none -> []
    end
  end
end
