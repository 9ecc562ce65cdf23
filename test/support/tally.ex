defmodule Kantoku.TestTally do
  @moduledoc "A data agent that counts, and can be made to fail."
  use Kantoku.Agent

  defstruct count: 0

  @impl true
  def new(args), do: struct!(__MODULE__, args)

  @impl true
  def cmd(_tally, :fail), do: raise("as asked")
  def cmd(tally, :read), do: {tally, [{:reply, tally.count}]}
  def cmd(tally, {:pay, n}), do: {%{tally | count: tally.count + n}, [{:pay, n}]}
  def cmd(tally, {:add, n}), do: cmd(%{tally | count: tally.count + n}, :read)

  @impl true
  def handle_directive({:pay, _n}, _id, %{id: {:slow, test}}),
    do: send(test, :paying) && Process.sleep(200) && send(test, :paid) && :ok

  def handle_directive({:pay, _n}, _id, _context), do: {:error, :broke}
end
