defmodule Kantoku.Agent.Config do
  # What the agents of one kind have in common, held once for all of them. Knows nothing of any single agent.
  @moduledoc false

  alias Kantoku.Agent.Options

  # `shape` is who makes, migrates and dumps the agents (`new/1`, `vsn/0`, `migrate/2`, `dump/1`): the module itself, but for agents of
  # another library, whose modules have functions of these names with meanings of their own.
  # `packs` says whether an idle one may be packed at the message `:timeout`, which a module with `handle_info/2` may want for itself.
  @enforce_keys [:instance, :module, :options, :shape, :packs]
  defstruct @enforce_keys

  @type t :: %__MODULE__{instance: atom, module: module, options: Options.t(), shape: module, packs: boolean}

  # Terms in persistent storage are shared, not copied: that saves each idle agent some 300 bytes. They are never erased
  # (that would cost a collection of every process), so there is a bound to them; what comes later is held by each agent.
  @most 2_048
  @counter {__MODULE__, :counter}

  @doc "The shared configuration for these options."
  @spec shared(instance :: atom, module, Options.t()) :: t
  def shared(instance, module, options), do: shared(instance, module, options, module)

  @doc "As `shared/3`, of agents that are not in the shape of their module."
  @spec shared(instance :: atom, module, Options.t(), shape :: module) :: t
  def shared(instance, module, options, shape) do
    packs? = shape == module and Code.ensure_loaded?(module) and not function_exported?(module, :handle_info, 2)
    config = %__MODULE__{instance: instance, module: module, options: options, shape: shape, packs: packs?}

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

  @doc "An agent as it is written. What has no `dump/1` is written as it is."
  @spec dump(t, Kantoku.Agent.t()) :: {:ok, term} | {:error, reason :: term}
  def dump(%{shape: module, module: module}, agent), do: {:ok, agent}
  def dump(%{shape: shape}, agent), do: shape.dump(agent)

  defp counter do
    with nil <- :persistent_term.get(@counter, nil) do
      :persistent_term.put(@counter, :counters.new(1, []))
      :persistent_term.get(@counter)
    end
  end
end
