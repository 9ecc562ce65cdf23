defmodule Kantoku.Store.Disk do
  @moduledoc """
  Keeps snapshots in a file (redb), through the native library: they outlive the VM.

  Writes are handed to one thread, which commits all that has gathered at once. With `durability: :sync` an agent's callers wait for that
  commit; with `:async` the last `:async_window` ms may be lost with the machine, but nothing with an agent, its domain or its
  supervisor. What an agent reads is what was written last, committed or not.

      {Kantoku, name: MyApp.Agents, store: {Kantoku.Store.Disk, path: "/var/lib/my_app/agents.redb"}}

  ## Options

    * `:path` - the file, made with mode 0600 if it is not there (required);
    * `:async_window` - how long writes for which nobody waits may gather, ms (default 100);
    * `:max_pending_bytes` - how much may wait for the disk before writes are put off (default 64 MiB);
    * `:max_snapshot_bytes` - the largest snapshot it takes (default 16 MiB);
    * `:cache_bytes` - memory for pages (default 32 MiB);
    * `:verify_on_open` - read and check the whole file first (default `false`);
    * `:on_corrupt` - a file that is damaged as a whole: `:refuse` to open it (default), or `:set_aside`: rename it and begin anew, which is told
      as `[:kantoku, :store, :set_aside]`, in the log and by an alert (`Kantoku.Alert`).

  ## Errors

  `{:error, {kind, message}}`, the message a sentence that says what to do. `kind` is `:no_library` (the native library does not
  serve), `:locked`, `:read_only`, `:disk_full`, `:corrupt`, `:format`, `:closed`, `:unsaved`, `:unfinished`, `:abandoned` or `:io`. Writes that
  failed are tried again by the agents. That reads or writes begin to fail, and that they go well again, is told as `[:kantoku, :store, :failed]` and
  `[:kantoku, :store, :recovered]`, and in the log.
  """
  @behaviour Kantoku.Store

  alias Kantoku.Native

  @mebibyte 1024 * 1024

  @options [
    async_window: 100,
    max_pending_bytes: 64 * @mebibyte,
    max_snapshot_bytes: 16 * @mebibyte,
    cache_bytes: 32 * @mebibyte,
    verify_on_open: false,
    on_corrupt: :refuse
  ]

  # A key of an agent starts with the version byte of the external term format, so nothing else may.
  @aside "aside:"

  @typedoc "Stands for an open file, which is closed with the process that opened it at the latest."
  @opaque handle :: pos_integer

  @impl true
  def open(instance, opts) do
    {path, opts} = Keyword.pop(opts, :path)
    path = path!(path)
    opts = options!(opts)

    if Native.loaded?(),
      do: Native.store_open(Path.expand(path), Map.put(opts, :instance, instance)),
      else: {:error, {:no_library, "Kantoku.Store.Disk needs the native library: #{why(Native.status())}"}}
  end

  defp why({:error, sentence}), do: sentence

  defp path!(path) when is_binary(path) and path != "", do: path

  defp path!(other),
    do: raise(ArgumentError, "option :path of Kantoku.Store.Disk expects a path, got: #{inspect(other)}")

  defp options!(opts) do
    opts = Keyword.validate!(opts, @options)
    Enum.each(opts, &option!/1)
    Map.new(opts)
  end

  defp option!({:verify_on_open, value}) when is_boolean(value), do: :ok
  defp option!({:on_corrupt, value}) when value in [:refuse, :set_aside], do: :ok
  defp option!({:async_window, value}) when is_integer(value) and value >= 0, do: :ok

  defp option!({name, value}) when name in [:max_pending_bytes, :max_snapshot_bytes, :cache_bytes] do
    (is_integer(value) and value > 0) || refuse!(name, "a positive number of bytes", value)
  end

  defp option!({:verify_on_open, value}), do: refuse!(:verify_on_open, "a boolean", value)
  defp option!({:on_corrupt, value}), do: refuse!(:on_corrupt, ":refuse or :set_aside", value)
  defp option!({:async_window, value}), do: refuse!(:async_window, "ms, 0 or more", value)

  @doc false
  @spec max_pending_bytes(keyword) :: pos_integer
  def max_pending_bytes(opts), do: Keyword.get(opts, :max_pending_bytes, @options[:max_pending_bytes])

  defp refuse!(name, expected, value) do
    raise ArgumentError, "option #{inspect(name)} of Kantoku.Store.Disk expects #{expected}, got: #{inspect(value)}"
  end

  @impl true
  def put(file, key, {incarnation, revision}, bytes, reply_ref) do
    with :ok <- store_put(file, key, incarnation, revision, bytes, reply_ref) do
      if reply_ref, do: :pending, else: :ok
    end
  end

  # Copying and checking a large one would hold the scheduler.
  @large 32 * 1024

  defp store_put(file, key, incarnation, revision, bytes, reply_ref) when byte_size(bytes) > @large,
    do: Native.store_put_large(file, key, incarnation, revision, bytes, reply_ref)

  defp store_put(file, key, incarnation, revision, bytes, reply_ref),
    do: Native.store_put(file, key, incarnation, revision, bytes, reply_ref)

  @impl true
  def get(file, key) do
    with {:ok, incarnation, revision, bytes} <- Native.store_get(file, key), do: {:ok, {incarnation, revision}, bytes}
  end

  @impl true
  def delete(file, key, {incarnation, revision}), do: Native.store_delete(file, key, incarnation, revision)

  # Bytes that the file itself finds damaged go to its quarantine; those that only their reader cannot use stay readable.
  @impl true
  def set_aside(file, key) do
    case Native.store_get(file, key) do
      {:ok, incarnation, revision, bytes} -> move_aside(file, key, incarnation, revision, bytes)
      {:damaged, _text} -> Native.store_set_aside(file, key)
      :none -> :ok
      {:error, _reason} = error -> error
    end
  end

  defp move_aside(file, key, incarnation, revision, bytes) do
    with :ok <- store_put(file, @aside <> key, incarnation, revision, bytes, nil) do
      Native.store_delete(file, key, incarnation, revision)
    end
  end

  @impl true
  def keys(file, cursor, limit) do
    case Native.store_keys(file, cursor || <<>>, limit) do
      [] -> {[], :done}
      keys when is_list(keys) -> {Enum.filter(keys, &match?(<<131, _rest::binary>>, &1)), List.last(keys)}
      {:error, {_kind, message}} -> raise message
    end
  end

  @impl true
  def flush(file), do: Native.store_flush(file)

  @doc """
  What the store counts of itself: what is pending, `commits` with the keys and bytes in them and the µs that they took (`commit_time`), failed
  commits, and the quarantine; `failing_for` how many ms reads or writes have failed, and `set_aside_ago` since a damaged file was set aside, or
  `nil`. Those of an instance's store are among its metrics (`kantoku_store_commits` and so on).
  """
  @spec stats(handle) :: map | {:error, {atom, String.t()}}
  def stats(file), do: Native.store_stats(file)

  @impl true
  def standing(file) do
    case stats(file) do
      %{failing_for: failing_for, set_aside_ago: ago} -> %{failing_for: failing_for, set_aside_ago: ago}
      {:error, _closed} -> %{failing_for: nil, set_aside_ago: nil}
    end
  end

  @impl true
  def close(file) do
    with {:error, {:closed, _message}} <- Native.store_close(file), do: :ok
  end

  @impl true
  def durable?, do: true
end
