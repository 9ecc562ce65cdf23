defmodule Kantoku.Agent.Config do
  # What the agents of one kind have in common, held once for all of them: that saves each some 300 bytes. Knows nothing of any single agent.
  @moduledoc false

  alias Kantoku.Agent.{Literals, Options}

  # `shape` is who makes, migrates and dumps the agents (`new/1`, `vsn/0`, `migrate/2`, `dump/1`): the module itself, but for agents of
  # another library, whose modules have functions of these names with meanings of their own.
  # `packs` says whether an idle one may be packed at the message `:timeout`, which a module with `handle_info/2` may want for itself.
  @enforce_keys [:instance, :module, :options, :shape, :packs]
  defstruct @enforce_keys

  @type t :: %__MODULE__{instance: atom, module: module, options: Options.t(), shape: module, packs: boolean}

  @doc "The shared configuration for these options."
  @spec shared(instance :: atom, module, Options.t()) :: t
  def shared(instance, module, options), do: shared(instance, module, options, module)

  @doc "As `shared/3`, of agents that are not in the shape of their module."
  @spec shared(instance :: atom, module, Options.t(), shape :: module) :: t
  def shared(instance, module, options, shape) do
    packs? = shape == module and Code.ensure_loaded?(module) and not function_exported?(module, :handle_info, 2)

    Literals.shared(:config, %__MODULE__{
      instance: instance,
      module: module,
      options: options,
      shape: shape,
      packs: packs?
    })
  end

  @doc "An agent as it is written. What has no `dump/1` is written as it is."
  @spec dump(t, Kantoku.Agent.t()) :: {:ok, term} | {:error, reason :: term}
  def dump(%{shape: module, module: module}, agent), do: {:ok, agent}
  def dump(%{shape: shape}, agent), do: shape.dump(agent)
end
