defmodule Kantoku.Pool.Abandoned do
  # What workers are still at though nobody waits for the answer: asked whether they are done, and how long ago. Knows neither engine
  # nor foreman.
  #
  # The question is a system message, `:sys.log(worker, :get)`, sent by hand so that the foreman does not wait. Every OTP behaviour
  # answers it from its own loop, after what was in its mailbox before it, by a list that is empty unless someone logs that process. Of the
  # questions that `:sys` knows it is the only one that neither changes the process, nor calls its module, nor copies its state. A
  # worker that is no OTP process never answers; one that is suspended does at once, and one that has handled a call and will reply
  # to it later is done when it has handled it.
  @moduledoc false

  alias Kantoku.Engine.Pools

  @typedoc "Whether somebody gave it up, or nobody ever waited for it."
  @type kind :: :given_up | :cast

  @typedoc "By the reference of the question: what the worker is at, who it is, since when (monotonic ms)."
  @type t :: %{reference => {Pools.ticket(), pid, kind, since :: integer}}

  @spec new() :: t
  def new, do: %{}

  @doc "Asks a worker."
  @spec ask(t, Pools.ticket(), pid, kind, now :: integer) :: t
  def ask(asked, ticket, pid, kind, now) do
    ref = make_ref()
    send(pid, {:system, {self(), ref}, {:debug, {:log, :get}}})
    Map.put(asked, ref, {ticket, pid, kind, now})
  end

  @doc "The ticket that an answer is about, if it is about one."
  @spec answered(t, reference) :: {Pools.ticket() | nil, t}
  def answered(asked, ref) do
    case Map.pop(asked, ref) do
      {{ticket, _pid, _kind, _since}, asked} -> {ticket, asked}
      {nil, asked} -> {nil, asked}
    end
  end

  @doc "Forgets a worker that died: its tickets ended with it."
  @spec forget(t, pid) :: t
  def forget(asked, pid) when asked == %{} and is_pid(pid), do: asked
  def forget(asked, pid), do: Map.reject(asked, fn {_ref, {_ticket, worker, _kind, _since}} -> worker == pid end)

  @doc "The workers to replace, and why: at once if they are at what was given up and `replace?`, else after `timeout` ms, or never."
  @spec overdue(t, replace? :: boolean, timeout :: pos_integer | nil, now :: integer) :: [{pid, :abandoned | :silent}]
  def overdue(asked, replace?, timeout, now) do
    for {_ref, {_ticket, pid, kind, since}} <- asked,
        reason = reason(kind, replace?, timeout, now - since),
        uniq: true,
        do: {pid, reason}
  end

  defp reason(:given_up, true, _timeout, _age), do: :abandoned
  defp reason(_kind, _replace?, nil, _age), do: nil
  defp reason(_kind, _replace?, timeout, age), do: if(age >= timeout, do: :silent)
end
