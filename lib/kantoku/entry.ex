defmodule Kantoku.Entry do
  @moduledoc """
  What a registry knows of an agent under a unique key.

  Besides `key`, `pid` and `value`, which every registration has, an entry can be described
  (`Kantoku.Registry.describe/3`): what the agent is, what it can do, how it is and where. What is described can be found
  and watched (`Kantoku.Registry.find/2`, `watch/2`).

    * `:type` - a module; `nil` if it was not given.
    * `:tags`, `:capabilities` - lists of atoms and binaries, without duplicates.
    * `:metadata` - a map of anything.
    * `:status` - an atom; `nil` if it was not given.
    * `:node` - where the process is.
    * `:region` - an atom or binary; `nil` if it was not given.
    * `:load` - work in flight, 0 at first: see `Kantoku.Registry.add_load/3`.
    * `:started_at` - when it was first described, in milliseconds since the epoch; `nil` before.
    * `:incarnation` - which registration of the instance this is. It grows with each, so that of two entries under one
      key the successor has the larger one.
  """

  @enforce_keys [:key, :pid, :incarnation]
  defstruct [
    :key,
    :pid,
    :value,
    :type,
    :status,
    :node,
    :region,
    :started_at,
    :incarnation,
    tags: [],
    capabilities: [],
    metadata: %{},
    load: 0
  ]

  @typedoc "What tags, capabilities and regions are."
  @type label :: atom | binary

  @type t :: %__MODULE__{
          key: term,
          pid: pid,
          value: term,
          type: module | nil,
          tags: [label],
          capabilities: [label],
          metadata: map,
          status: atom,
          node: node,
          region: label | nil,
          load: non_neg_integer,
          started_at: integer | nil,
          incarnation: pos_integer
        }

  @doc "The entry that an engine's record stands for."
  @spec from_record(Kantoku.Engine.record()) :: t
  def from_record({key, pid, value, attributes, load, incarnation}) do
    fields = %{key: key, pid: pid, value: value, load: load, incarnation: incarnation, node: node(pid)}

    struct!(
      __MODULE__,
      Map.merge(Map.delete(attributes, :gate), fields, fn _field, described, _default -> described end)
    )
  end

  @doc """
  Reads a message of a watch (`Kantoku.Registry.watch/2`); `:error` for any other message.

  The core sends to the watcher itself, without a process in between that could make structs; so the message is compact
  and this makes of it:

    * `{:join, ref, entry}` - matches from now on;
    * `{:change, ref, entry}` - was described anew, and still matches;
    * `{:leave, ref, {key, pid, incarnation}}` - does not match any more, or is gone.

      iex> Kantoku.Entry.from_watch({:kantoku_watch, :ref, :leave, {"ada", self(), 7}})
      {:leave, :ref, {"ada", self(), 7}}
      iex> Kantoku.Entry.from_watch(:something_else)
      :error
  """
  @spec from_watch(term) ::
          {:join | :change, reference, t} | {:leave, reference, {key :: term, pid, pos_integer}} | :error
  def from_watch({:kantoku_watch, ref, :leave, left}), do: {:leave, ref, left}

  def from_watch({:kantoku_watch, ref, event, record}) when event in [:join, :change] do
    {event, ref, from_record(record)}
  end

  def from_watch(_message), do: :error
end
