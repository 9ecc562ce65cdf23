defmodule Bench.Lifecycle.Counter do
  @moduledoc false
  # The data agent of our side: the worker's count, as a pure agent whose state outlives its process.

  defstruct count: 0

  @spec new(keyword) :: %__MODULE__{}
  def new(_opts), do: %__MODULE__{}

  @spec cmd(%__MODULE__{}, :add) :: {%__MODULE__{}, []}
  def cmd(%__MODULE__{count: count} = agent, :add), do: {%{agent | count: count + 1}, []}
end
