defmodule Kantoku.Migration.Restored do
  # Whether the state of an agent would be the same, had it been written and read again: asked by the shadow of `:state`. Keeps nothing.
  @moduledoc false

  alias Kantoku.Migration.{Carrier, Journal, Mode, Roster, Settings, Supervision}

  @doc "See `Kantoku.Migration.check_state/2`."
  @spec check(Supervision.subject(), term) :: :same | :off | {:differs, term} | {:error, term}
  def check({instance, subject}, id) do
    gate = Settings.gate(instance, :state, subject)
    row = Roster.settled({instance, subject, id}, 5_000)

    cond do
      Mode.side(gate, subject, id) == :old and gate != :shadow -> :off
      pid = Roster.pid(row) -> noted({instance, :state, subject}, id, row |> elem(3) |> verdict(pid))
      true -> {:error, :not_found}
    end
  end

  defp verdict(%{carrier: Carrier, means: means}, pid), do: compared(pid, means)
  defp verdict(%{carrier: other}, pid), do: other.restored(pid)

  defp compared(_pid, means) when means in [:none, :fresh], do: {:error, :no_state}
  defp compared(pid, means), do: Carrier.inside(pid, &{trip(means, &1), &1}) |> unwrapped()

  # In the process itself; its state stays what it was.
  defp trip(:sys, state), do: same(state, again(state), state)

  defp trip(module, state) do
    carried = module.export_state(state)
    same(carried, carried |> again() |> module.import_state(state) |> module.export_state(), carried)
  end

  defp again(term), do: term |> :erlang.term_to_binary() |> :erlang.binary_to_term()

  defp same(before, later, carried) do
    cond do
      local = local(carried) -> {:differs, {:local, local}}
      before === later -> :same
      true -> {:differs, :content}
    end
  end

  @doc "What in a term has no meaning after a restart: the kind of it, or `nil`."
  @spec local(term) :: :pid | :port | :reference | :function | nil
  def local(term) when is_pid(term), do: :pid
  def local(term) when is_port(term), do: :port
  def local(term) when is_reference(term), do: :reference
  def local(term) when is_function(term), do: if(Function.info(term, :type) == {:type, :local}, do: :function)
  def local([head | tail]), do: local(head) || local(tail)
  def local(term) when is_tuple(term), do: term |> Tuple.to_list() |> local()
  def local(%{} = term), do: term |> :maps.to_list() |> local()
  def local(_plain), do: nil

  defp unwrapped({:ok, verdict}), do: verdict
  defp unwrapped({:error, reason}), do: {:error, reason}

  defp noted(journal, id, verdict) do
    Journal.compare(journal, id, verdict, :same)
    verdict
  end
end
