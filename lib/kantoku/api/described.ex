defmodule Kantoku.Api.Described do
  # Agents as the API shows them, from their rows, and what their processes answer by a deadline: one that runs without a pause may take long
  # to say how many messages wait.
  @moduledoc false
  import Kantoku.Domain.Rows, only: [row: 1]

  alias Kantoku.{Agents, Health}
  alias Kantoku.Api.Shown
  alias Kantoku.Domain.{Launch, Rows}

  # For all of a page, in ms.
  @deadline 300
  # That one process looks at, one after the other.
  @at_once 25

  @type figures :: %{pid => {mailbox :: non_neg_integer, memory :: non_neg_integer}}

  @spec all(atom, [Rows.row()]) :: [map]
  def all(instance, rows) do
    figures = figures(for row(pid: pid, phase: :up) <- rows, do: pid)
    for row <- rows, do: one(instance, row, figures)
  end

  @doc "One agent."
  @spec one(atom, Rows.row(), figures) :: map
  def one(instance, row(id: id, pid: pid, phase: phase) = row, figures) do
    row(domain: domain, what: what, restarts: restarts, started: started) = row
    {mailbox, memory} = Map.get(figures, pid, {nil, nil})

    %{
      key: Shown.key(id),
      id: Shown.text(id),
      domain: Shown.text(domain),
      kind: Shown.text_or_nil(Launch.module(what)),
      phase: Agents.status(phase),
      health: health(instance, id),
      restarts: restarts,
      mailbox: mailbox,
      memory: memory,
      since: if(phase == :up, do: Shown.at(started))
    }
  end

  defp health(instance, id) do
    case Health.status(instance, {:agent, id}) do
      {:ok, %{state: state}} -> state
      {:error, _off_or_unknown} -> nil
    end
  end

  @doc "The mailboxes and memory of those that answer in time."
  @spec figures([pid]) :: figures
  def figures(pids), do: figures(pids, &mailbox_and_memory/1)

  defp mailbox_and_memory(pid) do
    with [message_queue_len: mailbox, memory: memory] <- Process.info(pid, [:message_queue_len, :memory]),
         do: {mailbox, memory}
  end

  @doc "What a look at each finds, of those that answer it in time; `nil` is nothing. Who does not holds up no more than a few others."
  @spec figures([pid], (pid -> figure | nil)) :: %{pid => figure} when figure: term
  def figures([], _look), do: %{}

  def figures(pids, look) do
    asked = self()
    tag = make_ref()
    askers = for some <- Enum.chunk_every(pids, @at_once), do: spawn(fn -> ask(some, look, asked, tag) end)
    timer = Process.send_after(self(), {tag, :late}, @deadline)
    figures = gather(tag, length(askers), %{})
    Enum.each(askers, &Process.exit(&1, :kill))
    _ = Process.cancel_timer(timer)
    flush(tag)
    figures
  end

  defp ask(pids, look, asked, tag) do
    for pid <- pids, figure = look.(pid), do: send(asked, {tag, pid, figure})
    send(asked, {tag, :done})
  end

  defp gather(_tag, 0, figures), do: figures

  defp gather(tag, askers, figures) do
    receive do
      {^tag, pid, figure} -> gather(tag, askers, Map.put(figures, pid, figure))
      {^tag, :done} -> gather(tag, askers - 1, figures)
      {^tag, :late} -> figures
    end
  end

  defp flush(tag) do
    receive do
      {^tag, _pid, _figure} -> flush(tag)
      {^tag, _done_or_late} -> flush(tag)
    after
      0 -> :ok
    end
  end
end
