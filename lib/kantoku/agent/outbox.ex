defmodule Kantoku.Agent.Outbox do
  # Directives on their way out, in order, each under its id. Pure; knows no process.
  @moduledoc false

  @type entry :: {Kantoku.Agent.directive_id(), revision :: pos_integer, Kantoku.Agent.directive()}
  @type t :: [entry]

  @doc "What a command answers, and what it wants done: the first `{:reply, term}`, and all that is none."
  @spec split([Kantoku.Agent.directive()]) :: {:none | {:reply, term}, [Kantoku.Agent.directive()]}
  def split([]), do: {:none, []}

  def split(directives) when is_list(directives) do
    {replies, effects} = Enum.split_with(directives, &match?({:reply, _term}, &1))
    {List.first(replies, :none), effects}
  end

  @doc "The outbox with the directives that a revision makes at its end."
  @spec append(t, pos_integer, [Kantoku.Agent.directive()]) :: t
  def append(outbox, _revision, []), do: outbox

  def append(outbox, revision, directives) do
    mark = mark()
    entries = Enum.with_index(directives, fn directive, index -> {id(mark, revision, index), revision, directive} end)
    outbox ++ entries
  end

  defp id(mark, revision, index), do: "#{mark}-#{revision}-#{index}"

  # Revisions alone would not do: an agent that lost unwritten revisions counts through them again with other directives, and so
  # does one that starts afresh. A handler that remembers ids would then refuse a directive that it has never seen.
  defp mark do
    seed = {node(), :os.getpid(), System.system_time(), make_ref()}
    seed |> :erlang.term_to_binary() |> :erlang.md5() |> binary_part(0, 9) |> Base.url_encode64()
  end
end
