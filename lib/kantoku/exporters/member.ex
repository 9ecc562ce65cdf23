defmodule Kantoku.Exporters.Member do
  # An instance's wish to be exported, for as long as it lives. The first of the instance's children that may be seen from outside, and so the
  # last to stop: who asks is answered while it starts and drains. Exports nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.Exporters.{Config, Keeper, Members, Standing}

  @doc "The children of an instance: this one, before all that is to be seen, and one between that and the drain."
  @spec children(atom, Config.t()) :: {[Supervisor.child_spec()], [Supervisor.child_spec()]}
  def children(_instance, %{http: nil, exporters: []}), do: {[], []}
  def children(instance, config), do: {[child_spec({instance, config})], [Standing.child_spec(instance)]}

  @spec start_link({atom, Config.t()}) :: GenServer.on_start()
  def start_link(wish), do: GenServer.start_link(__MODULE__, wish)

  @impl true
  def init({instance, config}) do
    Process.flag(:trap_exit, true)
    Members.join(instance, self(), config)
    Keeper.look()
    {:ok, instance, :hibernate}
  end

  # Answers when nothing of it is exported any more.
  @impl true
  def terminate(_reason, instance) do
    Members.leave(instance, self())
    Keeper.await()
  end
end
