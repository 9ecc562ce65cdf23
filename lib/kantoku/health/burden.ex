defmodule Kantoku.Health.Burden do
  # What a process has on it: bytes in use, messages that wait. May take as long as the process runs. Knows no limit.
  #
  # Bytes are those of its heaps that are in use, and of binaries outside of them that only it is known to hold. `:memory` is how much is
  # set aside for that: it grows by leaps of a half or more, in which no trend is seen, and does not count the binaries.
  @moduledoc false

  @items [:garbage_collection_info, :message_queue_len]
  @in_use [:heap_size, :old_heap_size, :mbuf_size, :bin_vheap_size, :bin_old_vheap_size]

  @doc "`{bytes, messages}`, or `nil` of who is dead."
  @spec of(pid) :: {non_neg_integer, non_neg_integer} | nil
  def of(pid) do
    case Process.info(pid, @items) do
      [garbage_collection_info: info, message_queue_len: messages] ->
        {words(info) * :erlang.system_info(:wordsize), messages}

      nil ->
        nil
    end
  end

  defp words(info), do: Enum.reduce(@in_use, 0, fn item, sum -> sum + Keyword.get(info, item, 0) end)
end
