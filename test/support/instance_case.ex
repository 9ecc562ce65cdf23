defmodule Kantoku.InstanceCase do
  @moduledoc """
  A test on an instance of its own: `start!/1` starts one below the test's supervisor.
  """
  use ExUnit.CaseTemplate

  require Kantoku.Domain.Rows

  alias Kantoku.{TestOwner, TestWorker}

  using do
    quote do
      import Kantoku.InstanceCase
      import Kantoku.TestOwner, only: [eventually: 1, eventually: 2, kill: 1]
      alias Kantoku.{Error, TestWorker}
    end
  end

  @doc """
  Starts an instance with few partitions, on the first engine that is here; its name. How busy this machine is changes nothing in it,
  unless the test says so (`:degradation`).
  """
  def start!(opts \\ []) do
    name = :"kantoku_test_#{System.unique_integer([:positive])}"
    domains = opts |> Keyword.get(:domains, []) |> with_default() |> Enum.map(&small/1)

    own = [name: name, engine: hd(Kantoku.EachEngine.engines()), sweep: 50, degradation: false]
    opts = Keyword.merge(own, Keyword.delete(opts, :domains))

    ExUnit.Callbacks.start_supervised!({Kantoku, [domains: domains] ++ opts}, id: opts[:name])
    opts[:name]
  end

  defp with_default(domains) do
    if Enum.any?(domains, &(&1[:name] == :default)), do: domains, else: [[name: :default] | domains]
  end

  defp small(domain) do
    domain |> Keyword.put_new(:partitions, 2) |> Keyword.update(:domains, [], &Enum.map(&1, fn d -> small(d) end))
  end

  @doc "Starts a worker as an agent; its pid."
  def worker!(instance, id, opts \\ []) do
    {agent, worker} = Keyword.split(opts, [:domain, :restart, :shutdown, :tags, :capabilities, :metadata])
    spec = {TestWorker, [id: id, tell: self()] ++ worker}
    {:ok, pid} = Kantoku.start_agent(instance, spec, [id: id] ++ agent)
    pid
  end

  @doc "Kills an agent and waits until another one serves under its name; its pid."
  def replaced!(instance, id) do
    old = Kantoku.whereis(instance, id)
    TestOwner.kill(old)
    back!(instance, id, old)
  end

  @doc "Waits until an agent other than `old` serves under a name; its pid."
  def back!(instance, id, old) do
    TestOwner.eventually(fn ->
      pid = Kantoku.whereis(instance, id)
      pid != old && pid
    end)
  end

  @doc "Waits until an agent cannot be had for a reason; the error."
  def eventually_error(instance, id, reason) do
    TestOwner.eventually(fn ->
      case Kantoku.fetch(instance, id) do
        {:error, %{reason: ^reason} = error} -> error
        _ -> nil
      end
    end)
  end

  @doc "The book and rows of an instance."
  def tables(instance) do
    {:ok, tables} = Kantoku.Instances.tables(instance)
    tables
  end

  @doc "The supervisor that an agent's row names, dead or alive."
  def supervisor_of(instance, id) do
    {rows, _book} = tables(instance)
    rows |> Kantoku.Domain.Rows.get(id) |> Kantoku.Domain.Rows.row(:sup)
  end

  @doc "Every process below an instance, with what it is."
  def processes(instance), do: instance |> Kantoku.Instance.address() |> GenServer.whereis() |> below()

  defp below(supervisor) do
    for {id, pid, type, _modules} <- children(supervisor), is_pid(pid), reduce: [] do
      all -> [{id, pid, type} | if(type == :supervisor, do: below(pid), else: [])] ++ all
    end
  end

  defp children(supervisor) do
    Supervisor.which_children(supervisor)
  catch
    :exit, _gone -> []
  end
end
