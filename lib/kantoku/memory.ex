defmodule Kantoku.Memory do
  @moduledoc """
  How much native memory an instance may hold, and what is refused when it does.

      {Kantoku, name: MyApp.Agents, memory: [registry: 512_000_000, breakers: 16_000_000]}

  The native library accounts each byte by what it is for (`kantoku_native_bytes`, a gauge by `owner`), and what can grow has a limit
  (`kantoku_native_limit_bytes`), above which there is a refusal or a count of what was dropped:

  | owner | grows with | limit | beyond it |
  |---|---|---|---|
  | `registry` (`names`, `owners`, `index`, `watches`) | names and what they are described by | `memory: [registry: bytes]` | agents, and names by `Kantoku.Registry.register/3`, are refused as `:limit` |
  | `health` | agents | `memory: [health: bytes]` | agents are refused as `:limit` |
  | `pools` | pools and who waits for them | `memory: [pools: bytes]`; who waits: `:max_queue` of a pool | pools are refused as `:limit`; requests as `:queue_full` |
  | `breakers` | breakers and their windows | `memory: [breakers: bytes]` | breakers are refused as `:limit` |
  | `metrics` | series | `metrics: [max_bytes: bytes]` | series are refused as `:limit`, or counted as `other` |
  | `traces` | spans that nobody took | `trace: [max_queue_bytes: bytes]` | spans are dropped, and counted |
  | `store` | snapshots that wait for the disk | `:max_pending_bytes` of `Kantoku.Store.Disk` | agents write later, with the newest |
  | `exporters` | what they were given, keep from round to round and are sending; events that wait for readers | bounds of their own: 16 MiB given, a round at a time, 1,024 events | drops, counted |
  | `history` | courses of the dashboard | 1,024 courses, 11.7 MB | the oldest give way; those without room are counted |

  `exporters` and `history` are of the VM, and told by exporters while they run. `store` does not count what the file's pages take, which is `:cache_bytes`
  of `Kantoku.Store.Disk` at most; of an instance of the Elixir engine, what waits in the file is `kantoku_store_pending_bytes`.

  The limits of this option are `:infinity` unless told otherwise: how much memory a machine has for this is not ours to guess. They are looked at
  each 250 ms, and again as soon as something was refused, so what came within that time may be above them; there is room again as soon as there is. What
  is there already goes on: an agent that restarts, its description and its health are not refused. `[:memory, :full]` and `[:memory, :freed]` tell it.

  An instance of the Elixir engine holds no native memory but the spans that are to be exported, and its limits are never reached.
  """

  alias Kantoku.{Error, Instances, Native}
  alias Kantoku.Memory.{Config, Notes}

  @typedoc "Whose memory has a limit by the option `:memory`."
  @type owner :: :registry | :pools | :breakers | :health

  @doc """
  What each owner holds, in bytes, and may hold.

      Kantoku.Memory.status(MyApp.Agents)
      #=> {:ok, %{registry: %{bytes: 1_204_224, max_bytes: 512_000_000, full: false}, ...}}

  `bytes` are as they are now, 0 on the Elixir engine; `full` is as it was at the last look. `{:error, %Kantoku.Error{reason: :not_running}}`.
  """
  @spec status(instance :: atom) ::
          {:ok, %{owner => %{bytes: non_neg_integer, max_bytes: pos_integer | :infinity, full: boolean}}}
          | {:error, Error.t()}
  def status(instance) do
    Instances.reading(instance, fn _rows, book ->
      held = held(instance)
      {:ok, Map.new(Notes.limits(book), fn {owner, max} -> {owner, shown(book, owner, held[owner], max)} end)}
    end)
  end

  defp shown(book, owner, bytes, max), do: %{bytes: bytes, max_bytes: max, full: Notes.full?(book, owner)}

  @doc false
  @spec held(atom) :: %{owner => non_neg_integer}
  def held(instance) do
    case Native.stats(instance) do
      :unknown -> Map.new(Config.owners(), &{&1, 0})
      stats -> Map.new(Config.owners(), &{&1, of(stats, &1)})
    end
  end

  defp of(stats, :registry), do: stats.names + stats.owners + stats.index + stats.watches
  defp of(stats, owner), do: Map.fetch!(stats, owner)
end
