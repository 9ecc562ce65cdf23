defmodule Kantoku.MigrationCase do
  @moduledoc "A test with an instance of Kantoku's, and a supervisor and a registry as an app had them before."
  use ExUnit.CaseTemplate

  alias Kantoku.{InstanceCase, Migration, TestSession}

  using do
    quote do
      import Kantoku.{InstanceCase, MigrationCase}
      import Kantoku.TestOwner, only: [eventually: 1, kill: 1]
      alias Kantoku.{Error, Migration, TestSession}
    end
  end

  setup context, do: context!(Map.get(context, :kantoku, []))

  @doc "Starts all of that below the test's supervisor; what the functions here ask for."
  def context!(opts) do
    unique = System.unique_integer([:positive])
    registry = :"kantoku_old_registry_#{unique}"
    supervisor = :"kantoku_old_supervisor_#{unique}"
    ExUnit.Callbacks.start_supervised!({Registry, keys: :unique, name: registry})
    ExUnit.Callbacks.start_supervised!({DynamicSupervisor, name: supervisor, max_restarts: 1_000})
    instance = InstanceCase.start!(opts)

    %{
      instance: instance,
      subject: {instance, TestSession},
      old: {DynamicSupervisor, supervisor},
      registry: {Registry, registry}
    }
  end

  @doc "Starts a session through the front; its pid."
  def session!(context, id, opts \\ []) do
    {own, opts} = Keyword.split(opts, [:trap, :slow, :fails])
    {Registry, registry} = context.registry
    spec = {TestSession, [id: id, registry: registry] ++ own}
    # Who goes back may do so when nothing late is waited for any more.
    opts = Keyword.put_new([registry: context.registry] ++ opts, :linger, 20)
    {:ok, pid} = Migration.start_child(context.subject, id, spec, context.old, opts)
    pid
  end

  @doc "Sets the mode of who supervises sessions, and waits until all are where they belong."
  def supervise!(context, mode, opts \\ []) do
    :ok = Migration.set(context.instance, :supervision, TestSession, mode, opts)
    :ok = Migration.await(context.instance, TestSession, 30_000)
  end

  @doc "What is said of one feature of sessions."
  def entry(context, feature, subject \\ TestSession) do
    {:ok, entries} = Migration.status(context.instance)
    Enum.find(entries, &(&1.feature == feature and &1.subject == subject))
  end

  @doc "How many processes the old supervisor has."
  def old_children(%{old: {DynamicSupervisor, supervisor}}), do: DynamicSupervisor.count_children(supervisor).active
end
