defmodule Kantoku.Registry.Load do
  @moduledoc """
  Names the load of one registration, so that it can be changed without looking the key up again.

  Got from `Kantoku.Registry.load_handle/2`, given to `Kantoku.Registry.set_load/3` and `add_load/3`. It is refused once that
  registration has ended, and never means its successor.
  """
  @enforce_keys [:handle]
  defstruct @enforce_keys

  @type t :: %__MODULE__{handle: Kantoku.Engine.handle()}
end
