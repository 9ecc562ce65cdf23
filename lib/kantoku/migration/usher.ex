defmodule Kantoku.Migration.Usher do
  # Sees out the process that an agent left behind: hands on what is still sent to it, and has it stopped when nothing can come any
  # more. How much was handed on stands in the roster before it is sent, so nothing is twice, whoever goes on with it.
  @moduledoc false

  alias Kantoku.Migration.{Roster, Supervision}

  # Between two looks for late messages, in ms; doubles to the last.
  @look 1
  @longest_look 100

  @doc "Begins to, in a process of its own that is known by the key."
  @spec start(Roster.key()) :: :ok
  def start(key), do: GenServer.cast(Kantoku.Migration.Mover, {:see_out, key})

  @doc "Runs it: returns when what was left is gone."
  @spec run(Roster.key()) :: :ok
  def run(key) do
    with {side, pid, new, sent} <- Roster.left(key) do
      origin = origin(key)
      hand_on(key, pid, new, sent, if(origin, do: origin.linger, else: 0), @look)
      if origin, do: Supervision.stop(side, key, pid, origin)
      Roster.forget_left(key)
    end

    :ok
  end

  # Stopped meanwhile, and so is what it came to.
  defp origin(key) do
    with {_key, _place, _pid, origin, _ledger, _stays} <- Roster.fetch(key), do: origin
  end

  defp hand_on(key, pid, new, sent, left, look) do
    sent = forward(key, messages(pid), new, sent)

    if left > 0 and Process.alive?(pid) do
      Process.sleep(min(look, left))
      hand_on(key, pid, new, sent, left - look, min(look * 2, @longest_look))
    end
  end

  # What `:sys` sends it, it takes out itself.
  defp messages(pid) do
    case Process.info(pid, :messages) do
      {:messages, messages} -> Enum.reject(messages, &match?({:system, _from, _request}, &1))
      nil -> []
    end
  end

  defp forward(key, messages, new, sent) do
    case Enum.drop(messages, sent) do
      [] ->
        sent

      late ->
        Roster.put_sent(key, sent + length(late))
        Enum.each(late, &send(new, &1))
        sent + length(late)
    end
  end
end
