defmodule Kantoku.Migration.Old do
  # The path that an app comes from: what its code called before, as a value. Knows nothing of Kantoku's side.
  @moduledoc false

  @type supervision ::
          {DynamicSupervisor, Supervisor.supervisor()}
          | %{start: (spec :: term -> DynamicSupervisor.on_start_child()), stop: (pid -> term)}
          | {module, term}

  @doc "Of another library: starts what a carrier made of a spec, and stops it."
  @callback start(argument :: term, roster_key :: tuple, spec :: term) ::
              DynamicSupervisor.on_start_child()
  @callback stop(argument :: term, pid) :: term

  @doc "Starts below the old supervisor; each start and restart passes by `Kantoku.Migration.Placed`."
  @spec start(supervision, roster_key :: tuple, spec :: term) :: DynamicSupervisor.on_start_child()
  def start({DynamicSupervisor, supervisor}, key, spec),
    do: DynamicSupervisor.start_child(supervisor, placed(key, spec))

  def start(%{start: start}, key, spec), do: start.(placed(key, spec))
  def start({module, argument}, key, spec), do: module.start(argument, key, spec)

  defp placed(key, %{start: {module, _function, _args} = mfa} = spec) do
    spec
    |> Map.put_new(:modules, [module])
    |> Map.put(:start, {Kantoku.Migration.Placed, :start, [key, self(), mfa]})
  end

  @spec stop(supervision, pid) :: :ok
  def stop(old, pid) do
    _ = ended(old, pid)
    :ok
  catch
    # Its supervisor is gone, and it with that.
    :exit, _reason -> :ok
  end

  defp ended({DynamicSupervisor, supervisor}, pid), do: DynamicSupervisor.terminate_child(supervisor, pid)
  defp ended(%{stop: stop}, pid), do: stop.(pid)
  defp ended({module, argument}, pid), do: module.stop(argument, pid)

  @doc "Where something is by the old registry's word."
  @spec whereis({module, term} | (term -> pid | nil), term) :: pid | nil
  def whereis(find, key) when is_function(find, 1), do: find.(key)

  # Not by a look-up, which may show one that is dead.
  def whereis({registry, name}, key) do
    case registry.whereis_name({name, key}) do
      :undefined -> nil
      pid -> pid
    end
  end

  @doc "The old path, or `ArgumentError`."
  @spec check!(:supervision | :registry | :pools, term) :: term
  def check!(:supervision, {module, _argument} = old) when is_atom(module), do: old

  def check!(:supervision, %{start: start, stop: stop} = old) when is_function(start, 1) and is_function(stop, 1),
    do: old

  def check!(:registry, {module, _name} = old) when is_atom(module), do: old
  def check!(:registry, find) when is_function(find, 1), do: find
  def check!(:pools, {:poolboy, _name} = old), do: old
  def check!(:pools, run) when is_function(run, 1), do: run

  def check!(feature, other) do
    raise ArgumentError,
          "Kantoku.Migration, old path of #{inspect(feature)}: expected #{expected(feature)}, got: #{inspect(other)}"
  end

  defp expected(:supervision), do: "{DynamicSupervisor, supervisor} or %{start: fun/1, stop: fun/1}"
  defp expected(:registry), do: "{Registry, name} or a function of the key"
  defp expected(:pools), do: "{:poolboy, name} or a function that is given what to run"
end
