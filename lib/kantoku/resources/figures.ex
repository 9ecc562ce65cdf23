defmodule Kantoku.Resources.Figures do
  # What a process uses, at one look. May take as long as the process runs. Keeps nothing.
  #
  # Only what can be read without the process's help. `:memory` and `:binary` are signals that it has to answer, at the cost of reductions
  # of its own: agents at rest would be woken, and samplers would take those that stand still for some that get on
  # (`Kantoku.Health.Sampler`). So memory is what is set aside for its heaps.
  @moduledoc false

  alias Kantoku.Health.Burden

  @items [:reductions, :message_queue_len, :garbage_collection_info]
  @memory [:heap_block_size, :old_heap_block_size, :mbuf_size]
  @heap [:heap_size, :old_heap_size, :mbuf_size]
  @binaries [:bin_vheap_size, :bin_old_vheap_size]

  @typedoc "Bytes; messages; `work` are the reductions since its start."
  @type t :: %{
          memory: non_neg_integer,
          heap: non_neg_integer,
          binaries: non_neg_integer,
          mailbox: non_neg_integer,
          work: non_neg_integer
        }

  @doc "What a process uses, and what of that is a burden (`Kantoku.Health.Burden`); `nil` of who is dead."
  @spec of(pid) :: {t, Burden.t()} | nil
  def of(pid) do
    case Process.info(pid, @items) do
      [reductions: work, message_queue_len: mailbox, garbage_collection_info: info] ->
        own =
          for {figure, items} <- [memory: @memory, heap: @heap, binaries: @binaries],
              do: {figure, Burden.bytes(info, items)}

        {Map.new([mailbox: mailbox, work: work] ++ own), {Burden.bytes(info), mailbox}}

      nil ->
        nil
    end
  end
end
