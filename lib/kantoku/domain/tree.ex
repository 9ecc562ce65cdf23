defmodule Kantoku.Domain.Tree do
  # The supervisor of one domain: fuse, declared agents, nested domains, partitions of dynamic agents. Started in one order and
  # stopped in the reverse. It ends by itself only when the fuse does. Knows no agent.
  @moduledoc false
  @behaviour :supervisor

  alias Kantoku.Instances
  alias Kantoku.Domain.{Book, Fuse, Pair}

  @type argument :: {instance :: atom, Kantoku.Domain.name(), Book.epoch()}

  @spec child_spec(argument) :: Supervisor.child_spec()
  def child_spec({_instance, domain, _epoch} = argument) do
    %{id: {:domain, domain}, start: {__MODULE__, :start_link, [argument]}, type: :supervisor, shutdown: :infinity}
  end

  @doc "Starts a domain, with a clean slate."
  @spec start_link(argument) :: Supervisor.on_start()
  def start_link({instance, domain, above}) do
    {_rows, book} = Instances.tables!(instance)
    Book.renew(book, domain)
    :supervisor.start_link(__MODULE__, {instance, domain, Book.next_epoch(above)})
  end

  # One for one: what is inside a domain has its own ways to come back. `:auto_shutdown` is OTP's, for the fuse.
  @impl true
  def init({instance, domain, epoch}) do
    {_rows, book} = Instances.tables!(instance)
    shape = Book.shape(book, domain)
    flags = %{strategy: :one_for_one, intensity: 1_000_000, period: 1, auto_shutdown: :any_significant}
    {:ok, {flags, [Fuse.child_spec({instance, domain, epoch}) | children(shape, instance, domain, epoch)]}}
  end

  defp children(shape, instance, domain, epoch) do
    group = if shape.declared == [], do: [], else: [Pair.child_spec({{instance, domain, :group}, epoch})]
    nested = for name <- shape.nested, do: child_spec({instance, name, epoch})
    dynamic = [partitions(instance, domain, shape.partitions, epoch)]

    case shape.stop_order do
      :dynamic_first -> group ++ nested ++ dynamic
      :declared_first -> nested ++ dynamic ++ group
    end
  end

  defp partitions(instance, domain, count, epoch) do
    %{
      id: :partitions,
      start: {__MODULE__, :start_partitions, [instance, domain, count, epoch]},
      type: :supervisor,
      shutdown: :infinity
    }
  end

  @doc "Starts the pairs that hold a domain's dynamic agents."
  @spec start_partitions(atom, Kantoku.Domain.name(), pos_integer, Book.epoch()) :: Supervisor.on_start()
  def start_partitions(instance, domain, count, above) do
    epoch = Book.next_epoch(above)
    pairs = for index <- 0..(count - 1), do: Pair.child_spec({{instance, domain, index}, epoch})
    Supervisor.start_link(pairs, [strategy: :one_for_one] ++ Pair.unlimited())
  end
end
