defmodule Kantoku.Migration.Via do
  @moduledoc """
  A name that is found on either side: `{:via, Kantoku.Migration.Via, {{instance, subject}, key, {Registry, name}}}`.

      name = {:via, Kantoku.Migration.Via, {{MyApp.Agents, MyApp.Session}, "ada", {Registry, MyApp.Registry}}}
      GenServer.call(name, :read)

  A process that starts under it is registered in the old registry, as before; a look-up is `Kantoku.Migration.whereis/3`, so it waits
  for one that is moving and follows the mode of `:registry`. The old registry has the functions of `Registry`.
  """

  alias Kantoku.Migration.Lookup

  @type name :: {{instance :: atom, subject :: term}, key :: term, {registry :: module, name :: atom}}

  @doc "Registers in the old registry. For OTP."
  @spec register_name(name, pid) :: :yes | :no
  def register_name({_subject, key, {registry, name}}, pid), do: registry.register_name({name, key}, pid)

  @doc "Unregisters there. For OTP."
  @spec unregister_name(name) :: :ok
  def unregister_name({_subject, key, {registry, name}}), do: registry.unregister_name({name, key})

  @doc "The process, or `:undefined`. For OTP."
  @spec whereis_name(name) :: pid | :undefined
  def whereis_name({subject, key, old}), do: Lookup.whereis(subject, key, old) || :undefined

  @doc "Sends a message; exits with `:badarg` if there is none of that name. For OTP."
  @spec send(name, term) :: pid
  def send(name, message) do
    case whereis_name(name) do
      :undefined -> exit({:badarg, {name, message}})
      pid -> Kernel.send(pid, message) && pid
    end
  end
end
