defmodule Kantoku.Migration.Names do
  # The names of a process that moves: found, taken from it, given back. Knows no side but by what it is told.
  @moduledoc false

  alias Kantoku.Engine
  alias Kantoku.Migration.{Carrier, Mode, Placed, Roster}

  @type name :: {:local, atom} | {registry :: module, term, key :: term, value :: term}

  @doc "Those that can be moved: its local one, and its entries in the old registry. `[:none]` if it has none of them."
  @spec of(pid, {module, term} | nil) :: [name | :none, ...]
  def of(pid, registry) do
    case local(Process.info(pid, :registered_name)) ++ entries(pid, registry) do
      [] -> [:none]
      names -> names
    end
  end

  defp local({:registered_name, name}) when is_atom(name), do: [{:local, name}]
  defp local(_none), do: []

  defp entries(_pid, nil), do: []

  defp entries(pid, {registry, name}) do
    for key <- Enum.uniq(registry.keys(name, pid)),
        {^pid, value} <- registry.lookup(name, key),
        do: {registry, name, key, value}
  end

  @doc "Takes them from a process that is held still, and its name in our registry."
  @spec take(Roster.key(), pid, [name | :none]) :: :ok
  def take({instance, _subject, id}, pid, names) do
    for {:local, name} <- names, do: safely(fn -> Process.unregister(name) end)
    if entries?(names), do: Carrier.inside(pid, &{unregister(names), &1})
    Engine.disclaim(instance, id, pid)
    :ok
  end

  # In the process itself: a registry lets nobody else.
  defp unregister(names), do: for({registry, name, key, _value} <- names, do: registry.unregister(name, key))

  @doc "Gives them back to it."
  @spec give_back(Roster.key(), Mode.side(), pid, [name | :none]) :: :ok
  def give_back(_key, _side, _pid, []), do: :ok

  def give_back({instance, subject, id}, side, pid, names) do
    for {:local, name} <- names, do: safely(fn -> Process.register(pid, name) end)
    if entries?(names), do: Carrier.inside(pid, &{register(names), &1})
    if side == :new, do: Engine.claim(instance, id, pid, nil), else: Placed.named(instance, subject, id, pid)
    :ok
  end

  defp register(names), do: for({registry, name, key, value} <- names, do: registry.register(name, key, value))
  defp entries?(names), do: Enum.any?(names, &match?({_registry, _name, _key, _value}, &1))

  # It may be dead, or be named so already.
  defp safely(fun) do
    fun.()
  rescue
    ArgumentError -> false
  end
end
