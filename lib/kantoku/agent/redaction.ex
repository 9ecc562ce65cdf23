defmodule Kantoku.Agent.Redaction do
  # Takes an agent's data out of what is said about a crash. Knows no server.
  @moduledoc false

  @hidden :redacted
  @plain [:function_clause, :undef, :badarith, :badarg, :system_limit, :noproc, :timeout, :normal, :killed]
  @tags [
    :badmatch,
    :case_clause,
    :try_clause,
    :with_clause,
    :else_clause,
    :badkey,
    :badmap,
    :badfun,
    :badarity,
    :badrecord,
    :nocatch
  ]

  @doc """
  Runs an agent's code. If it fails, it fails alike, but without data if `redact` says so. A throw becomes an error: a `GenServer` would
  take it for the value of its callback.
  """
  @spec guard(redact :: boolean, (() -> result)) :: result when result: var
  def guard(redact, fun) do
    fun.()
  catch
    :throw, value -> fail(redact, :error, {:nocatch, value}, __STACKTRACE__)
    kind, reason -> fail(redact, kind, reason, __STACKTRACE__)
  end

  defp fail(true, kind, reason, stack), do: :erlang.raise(kind, reason(reason), stacktrace(stack))
  defp fail(false, kind, reason, stack), do: :erlang.raise(kind, reason, stack)

  @doc "A failure's reason, its kind left and its data taken out."
  @spec reason(term) :: term
  def reason(reason) when reason in @plain, do: reason
  def reason(reason) when is_atom(reason), do: reason
  def reason(%{__exception__: true} = exception), do: exception(exception)
  def reason({:badkey, key, _map}) when is_atom(key), do: {:badkey, key, @hidden}
  def reason({tag, _data}) when tag in @tags, do: {tag, @hidden}
  def reason({:shutdown, reason}), do: {:shutdown, reason(reason)}
  def reason({reason, stack}) when is_list(stack) and stack != [], do: {reason(reason), stacktrace(stack)}
  def reason(reason) when is_tuple(reason) and is_atom(elem(reason, 0)), do: {elem(reason, 0), @hidden}
  def reason(_reason), do: @hidden

  @doc "What kind of failure it was, and nothing else: no message either, which is its author's word."
  @spec kind(term) :: term
  def kind(reason), do: reason |> reason() |> bare()

  defp bare({:shutdown, reason}), do: {:shutdown, bare(reason)}
  defp bare({reason, stack}) when is_list(stack), do: bare(reason)
  defp bare(%{__exception__: true, __struct__: module}), do: module
  defp bare({kind, @hidden}), do: kind
  defp bare(reason), do: reason

  # The fields in which Elixir's own exceptions carry the term that did not fit. The message of any other is its author's word.
  defp exception(exception) do
    Enum.reduce([:term, :value, :args, :left, :right, :clauses], exception, fn field, exception ->
      if is_map_key(exception, field), do: Map.put(exception, field, hide(Map.get(exception, field))), else: exception
    end)
  end

  defp hide(nil), do: nil
  defp hide(_data), do: @hidden

  @doc "A stacktrace with arities in place of arguments."
  @spec stacktrace(Exception.stacktrace() | term) :: term
  def stacktrace(stack) when is_list(stack), do: Enum.map(stack, &entry/1)
  def stacktrace(other), do: other

  defp entry({module, function, args, location}) when is_list(args),
    do: {module, function, length(args), plain(location)}

  defp entry({fun, args, location}) when is_list(args), do: {fun, length(args), plain(location)}
  defp entry({module, function, arity, location}), do: {module, function, arity, plain(location)}
  defp entry(other), do: other

  defp plain(location) when is_list(location), do: Keyword.take(location, [:file, :line])
  defp plain(location), do: location

  @doc "What `:sys.get_status/1` and crash reports may show of a server."
  @spec status(map, Kantoku.Agent.Holding.t()) :: map
  def status(status, holding) do
    Enum.reduce([:message, :last_message, :log, :reason], %{status | state: summary(holding)}, fn
      :reason, status when is_map_key(status, :reason) -> Map.update!(status, :reason, &reason/1)
      :log, status when is_map_key(status, :log) -> Map.put(status, :log, [])
      key, status when is_map_key(status, key) -> Map.put(status, key, @hidden)
      _key, status -> status
    end)
  end

  defp summary(holding) do
    outbox = if holding.pending, do: length(holding.pending.outbox), else: 0

    %{
      agent: @hidden,
      id: holding.id,
      module: holding.config.module,
      revision: holding.revision,
      incarnation: holding.incarnation,
      undelivered: outbox
    }
  end
end
