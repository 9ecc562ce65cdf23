defmodule Bench.Lifecycle.Counter do
  @moduledoc false
  # The data agent of our side: the worker's count, as a pure agent whose state outlives its process.
  use Kantoku.Agent

  defstruct count: 0

  @impl true
  def new(_args), do: %__MODULE__{}

  @impl true
  def cmd(%__MODULE__{count: count} = counter, :add) do
    {%{counter | count: count + 1}, [{:reply, count + 1}]}
  end
end
