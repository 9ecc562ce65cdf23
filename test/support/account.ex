defmodule Kantoku.Test.Account do
  @moduledoc false
  # An agent that counts, and whose payments are directives. `:tell` is a pid that hears of each delivery and says how it ended.
  use Kantoku.Agent

  defstruct count: 0, paid: [], tell: nil, secret: nil

  @impl true
  def new(fields), do: struct!(__MODULE__, fields)

  @impl true
  def cmd(account, {:add, n}), do: {%{account | count: account.count + n}, [{:reply, account.count + n}]}
  def cmd(account, {:pay, what}), do: {%{account | count: account.count + 1}, [{:pay, what}]}
  def cmd(account, {:pay_all, list}), do: {%{account | count: account.count + 1}, Enum.map(list, &{:pay, &1})}
  def cmd(account, {:paid, what}), do: {%{account | paid: [what | account.paid]}, []}
  def cmd(account, :count), do: {account, [{:reply, account.count}]}
  def cmd(account, :nothing), do: {account, []}
  def cmd(account, {:replies, list}), do: {account, Enum.map(list, &{:reply, &1})}
  def cmd(account, {:fill, bytes}), do: {%{account | secret: :binary.copy("x", bytes)}, []}
  def cmd(_account, :crash), do: raise("crashed as asked")

  def cmd(account, :match_crash) do
    %{nothing: nothing} = account
    {nothing, []}
  end

  def cmd(_account, :throw), do: throw({:noreply, :taken_over})
  def cmd(_account, :nonsense), do: :nonsense

  @impl true
  def handle_info({:note, n}, account), do: {%{account | count: account.count + n}, []}
  def handle_info({:EXIT, _pid, _reason}, account), do: {account, []}

  # The teller decides how a delivery ends.
  @impl true
  def handle_directive({:pay, what}, id, context) do
    teller = teller(what)
    send(teller, {:delivery, self(), what, id, context})

    receive do
      {:end_delivery, :crash} -> raise "handler crashed as asked"
      {:end_delivery, result} -> result
    end
  end

  defp teller({pid, _what}), do: pid
end
