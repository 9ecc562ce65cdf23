defmodule Kantoku.Registry.Names do
  # Registering and unregistering the calling process: links, listeners and the choice between two holders of a name.
  # Knows nothing of how either engine keeps names.
  @moduledoc false

  # What the library answers is not to be seen in its stubs.
  @dialyzer {:no_match, finish: 4}

  alias Kantoku.{Engine, Error, Instances, Telemetry}
  alias Kantoku.Memory.Notes
  alias Kantoku.Registry.Config

  @spec register(atom, term, term) :: {:ok, pid} | {:error, {:already_registered, pid} | Error.t()}
  def register(registry, key, value) do
    case Engine.register(registry, key, value) do
      {:ok, _server} = linked -> linked
      {:error, {:already_registered, holder}} -> resolve(registry, key, value, holder)
      other -> finish(other, registry, key, value)
    end
  end

  defp finish({:ok, server}, _registry, _key, _value), do: {:ok, server}

  defp finish({:link, server}, registry, key, _value), do: link(server, registry, key)

  defp finish({:notify, server, listeners}, registry, key, value) do
    with {:ok, server} <- link(server, registry, key) do
      tell(listeners, {:register, registry, key, self(), value})
      {:ok, server}
    end
  end

  defp finish(:limit, registry, _key, _value) do
    Instances.reading(registry, fn _rows, book -> {:error, Notes.refuse(book, registry)} end)
  end

  defp finish(:unknown, registry, _key, _value), do: Config.unknown_registry!(registry)

  # A partition that died just now cannot be linked to, and who is not linked must not stay registered.
  defp link(server, registry, key) do
    Process.link(server)
    {:ok, server}
  rescue
    ErlangError ->
      _ = Engine.unregister(registry, key)
      Config.unknown_registry!(registry, ". Its partition is being restarted")
  end

  defp resolve(_registry, _key, _value, holder) when holder == self(), do: {:error, {:already_registered, holder}}

  defp resolve(registry, key, value, holder) do
    case verdict(Config.fetch!(registry).resolver, registry, key, value, holder) do
      :keep -> {:error, {:already_registered, holder}}
      :replace -> replace(registry, key, value, holder)
      :again -> register(registry, key, value)
    end
  end

  defp verdict(choice, _registry, _key, _value, _holder) when is_atom(choice), do: choice

  defp verdict(ask, registry, key, value, holder) do
    case Engine.lookup(registry, key) do
      [{^holder, _value} = old] -> checked!(ask.(key, old, {self(), value}))
      _other -> :again
    end
  end

  defp checked!(verdict) when verdict in [:keep, :replace], do: verdict

  defp checked!(other) do
    raise ArgumentError, "expected the :resolver function to return :keep or :replace, got: #{inspect(other)}"
  end

  defp replace(registry, key, value, holder) do
    case Engine.take_over(registry, key, value, holder) do
      {:error, {:already_registered, successor}} ->
        resolve(registry, key, value, successor)

      taken ->
        Telemetry.emit(registry, [:registry, :taken_over], %{}, %{key: key, from: holder, to: self()})
        Process.exit(holder, {:shutdown, {:name_taken_over, key}})
        finish(taken, registry, key, value)
    end
  end

  @doc "Acts on what the engine answered to an unregistration; `tell?` says whether listeners hear of it."
  @spec unregistered(Engine.unregistered(), atom, term, boolean) :: :ok
  def unregistered(:ok, _registry, _key, _tell?), do: :ok
  def unregistered({:unlink, server}, _registry, _key, _tell?), do: unlink(server)

  def unregistered({:notify, server, listeners}, registry, key, tell?) do
    if server, do: unlink(server)
    if tell?, do: tell(listeners, {:unregister, registry, key, self()})
    :ok
  end

  def unregistered(:unknown, registry, _key, _tell?), do: Config.unknown_registry!(registry)

  defp unlink(server) do
    Process.unlink(server)
    :ok
  end

  # A listener is a name that may be free at the moment.
  defp tell(listeners, message) do
    for name <- listeners, pid = Process.whereis(name), do: Kernel.send(pid, message)
    :ok
  end
end
