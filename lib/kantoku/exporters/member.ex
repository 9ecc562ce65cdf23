defmodule Kantoku.Exporters.Member do
  # An instance's wish to be exported, for as long as it lives. The first of the instance's children that may be seen from outside, and so the
  # last to stop: who asks is answered while it starts and drains. Exports nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.Exporters.{Config, Keeper, Members, Standing}
  alias Kantoku.Resources.Schedulers

  @doc "The children of an instance: this one, before all that is to be seen, and those right before and after the drain."
  @spec children(atom, Config.t(), drain :: Supervisor.child_spec()) ::
          {before :: [Supervisor.child_spec()], drain :: [Supervisor.child_spec()]}
  def children(_instance, %{http: nil, exporters: []}, drain), do: {[], [drain]}

  def children(instance, config, drain) do
    [drained, draining] = for which <- [:drained, :draining], do: Standing.child_spec({instance, which})
    {[child_spec({instance, config})], [drained, drain, draining]}
  end

  @spec start_link({atom, Config.t()}) :: GenServer.on_start()
  def start_link(wish), do: GenServer.start_link(__MODULE__, wish)

  @impl true
  def init({instance, config}) do
    Process.flag(:trap_exit, true)
    Members.join(instance, self(), config)
    Keeper.look()
    Schedulers.look()
    {:ok, instance, :hibernate}
  end

  # Answers when nothing of it is exported any more.
  @impl true
  def terminate(_reason, instance) do
    Members.leave(instance, self())
    Schedulers.look()
    Keeper.await()
  end
end
