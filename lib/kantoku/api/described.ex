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
  def figures([]), do: %{}

  def figures(pids) do
    asked = self()
    tag = make_ref()
    asker = spawn(fn -> ask(pids, asked, tag) end)
    timer = Process.send_after(self(), {tag, :late}, @deadline)
    figures = gather(tag, %{})
    Process.exit(asker, :kill)
    _ = Process.cancel_timer(timer)
    flush(tag)
    figures
  end

  defp ask(pids, asked, tag) do
    for pid <- pids,
        [message_queue_len: mailbox, memory: memory] <- [Process.info(pid, [:message_queue_len, :memory])],
        do: send(asked, {tag, pid, {mailbox, memory}})

    send(asked, {tag, :done})
  end

  defp gather(tag, figures) do
    receive do
      {^tag, pid, figure} -> gather(tag, Map.put(figures, pid, figure))
      {^tag, _done_or_late} -> figures
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
