defmodule Kantoku.Memory.Config do
  # How much native memory each owner of an instance may hold. Knows nobody who holds some.
  @moduledoc false

  @owners [:registry, :pools, :breakers, :health]

  @schema (for owner <- @owners do
             {owner,
              [
                kind: {:like, "a positive number of bytes, or :infinity", &__MODULE__.limit?/1},
                default: :infinity,
                doc: "bytes, or `:infinity`."
              ]}
           end)

  @doc "Who has a limit."
  @spec owners() :: [Kantoku.Memory.owner()]
  def owners, do: @owners

  @spec schema() :: Kantoku.Options.schema()
  def schema, do: @schema

  @doc false
  def limit?(limit), do: limit == :infinity or (is_integer(limit) and limit > 0)
end
