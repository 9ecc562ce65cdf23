defmodule Kantoku.Registry.Load do
  @moduledoc """
  Names the load of one registration, so that it can be changed without looking the key up again.

  Got from `Kantoku.Registry.load_handle/2`, given to `Kantoku.Registry.set_load/3` and `add_load/3`. It is refused once that
  registration has ended, and never means its successor.
  """
  @enforce_keys [:handle]
  defstruct @enforce_keys

  @typedoc "Opaque to all but the registry."
  @type t :: %__MODULE__{handle: Kantoku.Engine.handle()}

  @doc false
  @spec check!(term, integer, String.t()) :: integer
  def check!(load, least, what) do
    most = Kantoku.Engine.max_load()

    unless is_integer(load) and load >= least and load <= most do
      raise ArgumentError, "expected #{what} to be an integer from #{least} to #{most}, got: #{inspect(load)}"
    end

    load
  end
end
