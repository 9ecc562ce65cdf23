defmodule Kantoku.Memory.Notes do
  # The limits of an instance's native memory and who is at theirs, in its book, so that it outlives who looks. Rows: {:memory, limits, who looks or
  # nil}, {{:memory_full, owner}, limit}. Measures nothing.
  @moduledoc false

  alias Kantoku.{Error, Memory}
  alias Kantoku.Memory.Config

  @type limits :: %{Memory.owner() => pos_integer | :infinity}

  @doc "Enters the limits of an instance that starts."
  @spec enter(:ets.tid(), limits) :: true
  def enter(book, limits), do: :ets.insert(book, {:memory, limits, nil})

  @spec limits(:ets.tid()) :: limits
  def limits(book), do: :ets.lookup_element(book, :memory, 2)

  @doc "Says who looks."
  @spec seat(:ets.tid(), pid) :: boolean
  def seat(book, pid), do: :ets.update_element(book, :memory, {3, pid})

  @doc "Says that an owner is at its limit, or not any more."
  @spec put_full(:ets.tid(), Memory.owner(), boolean) :: true
  def put_full(book, owner, true), do: :ets.insert(book, {{:memory_full, owner}, limits(book)[owner]})
  def put_full(book, owner, false), do: :ets.delete(book, {:memory_full, owner})

  @spec full?(:ets.tid(), Memory.owner()) :: boolean
  def full?(book, owner), do: :ets.member(book, {:memory_full, owner})

  @doc "Whether these may come to hold more; whoever is refused has that looked at again."
  @spec room(:ets.tid(), atom, [Memory.owner()]) :: :ok | {:error, Error.t()}
  def room(_book, _instance, []), do: :ok

  def room(book, instance, [owner | others]) do
    case :ets.lookup(book, {:memory_full, owner}) do
      [] -> room(book, instance, others)
      [{_key, max}] -> {:error, refused(book, instance, owner, max)}
    end
  end

  @doc "The refusal of a name."
  @spec refuse(:ets.tid(), atom) :: Error.t()
  def refuse(book, instance), do: refused(book, instance, :registry, limits(book).registry)

  defp refused(book, instance, owner, max) do
    with pid when is_pid(pid) <- :ets.lookup_element(book, :memory, 3), do: send(pid, :look)
    Error.new(:limit, instance: instance, owner: owner, max_bytes: max)
  end

  @doc false
  @spec unlimited?(limits) :: boolean
  def unlimited?(limits), do: Enum.all?(Config.owners(), &(limits[&1] == :infinity))
end
