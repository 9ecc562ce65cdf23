defmodule Kantoku.Drain.Server do
  # Runs drains one after the other: those that are asked for, and the one of an orderly shutdown. It is the last child of its
  # instance and so the first to be stopped, while all agents still live.
  @moduledoc false
  use GenServer, shutdown: :infinity

  alias Kantoku.{Drain, Instances, Telemetry}
  alias Kantoku.Domain.Book

  @spec start_link({atom, non_neg_integer}) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @doc "Drains a domain or, with `nil`, the instance. `timeout` `nil` is the instance's own."
  @spec drain(:ets.tid(), Kantoku.Domain.name() | nil, non_neg_integer | nil) :: Kantoku.drained()
  def drain(book, domain, timeout), do: GenServer.call(Book.seated(book, :drain), {:drain, domain, timeout}, :infinity)

  @impl true
  def init({instance, timeout}) do
    Process.flag(:trap_exit, true)
    {_rows, book} = Instances.tables!(instance)
    Book.seat(book, :drain, Book.next_epoch([]), self())
    {:ok, {instance, timeout}, :hibernate}
  end

  @impl true
  def handle_call({:drain, domain, timeout}, _from, {instance, default} = state) do
    {:reply, Drain.run(context(instance), domain, timeout || default), state, :hibernate}
  end

  @impl true
  def handle_info(_exit_of_a_task, state), do: {:noreply, state, :hibernate}

  @impl true
  def terminate(reason, {instance, timeout}) do
    Telemetry.emit(instance, [:instance, :stopping], %{}, %{reason: reason})
    finish(reason, instance, timeout)
  end

  # Only an orderly end waits for work: when the instance gave up or was killed its agents end as OTP ends them.
  defp finish(reason, instance, timeout) when reason in [:shutdown, :normal] do
    {_instance, _rows, book} = context = context(instance)
    unless Book.blown?(book, nil), do: Drain.run(context, nil, timeout)
  end

  defp finish({:shutdown, _}, instance, timeout), do: finish(:shutdown, instance, timeout)
  defp finish(_reason, _instance, _timeout), do: :ok

  defp context(instance) do
    {rows, book} = Instances.tables!(instance)
    {instance, rows, book}
  end
end
