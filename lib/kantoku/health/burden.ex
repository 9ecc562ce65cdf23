defmodule Kantoku.Health.Burden do
  # What a process has on it: bytes in use, messages that wait. May take as long as the process runs. Knows no limit.
  #
  # Bytes are those of its heaps that are in use, and of binaries outside of them that only it is known to hold. `:memory` is how much is
  # set aside for that: it grows by leaps of a half or more, in which no trend is seen, and does not count the binaries.
  @moduledoc false

  @items [:garbage_collection_info, :message_queue_len]
  @in_use [:heap_size, :old_heap_size, :mbuf_size, :bin_vheap_size, :bin_old_vheap_size]

  @type t :: {bytes :: non_neg_integer, messages :: non_neg_integer}

  @doc "`{bytes, messages}`, or `nil` of who is dead."
  @spec of(pid) :: t | nil
  def of(pid) do
    case Process.info(pid, @items) do
      [garbage_collection_info: info, message_queue_len: messages] ->
        {bytes(info), messages}

      nil ->
        nil
    end
  end

  @doc "Bytes in use, as the VM says of its collections; or these items of them."
  @spec bytes(keyword, [atom]) :: non_neg_integer
  def bytes(info, items \\ @in_use),
    do: Enum.reduce(items, 0, &(&2 + Keyword.get(info, &1, 0))) * :erlang.system_info(:wordsize)
end
