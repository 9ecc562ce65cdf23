defmodule Kantoku.Agent.Config do
  # What the agents of one kind have in common, held once for all of them. Knows nothing of any single agent.
  @moduledoc false

  alias Kantoku.Agent.Options

  @enforce_keys [:instance, :module, :options]
  defstruct [:instance, :module, :options]

  @type t :: %__MODULE__{instance: atom, module: module, options: Options.t()}

  # Terms in persistent storage are shared, not copied: that saves each idle agent some 300 bytes. They are never erased
  # (that would cost a collection of every process), so there is a bound to them; what comes later is held by each agent.
  @most 512
  @counter {__MODULE__, :counter}

  @doc "The shared configuration for these options."
  @spec shared(instance :: atom, module, Options.t()) :: t
  def shared(instance, module, options) do
    config = %__MODULE__{instance: instance, module: module, options: options}

    case :persistent_term.get({__MODULE__, config}, nil) do
      nil -> share(config, :counters.get(counter(), 1))
      shared -> shared
    end
  end

  defp share(config, count) when count >= @most, do: config

  defp share(config, _count) do
    :counters.add(counter(), 1, 1)
    :persistent_term.put({__MODULE__, config}, config)
    :persistent_term.get({__MODULE__, config})
  end

  defp counter do
    with nil <- :persistent_term.get(@counter, nil) do
      :persistent_term.put(@counter, :counters.new(1, []))
      :persistent_term.get(@counter)
    end
  end
end
