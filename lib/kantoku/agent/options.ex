defmodule Kantoku.Agent.Options do
  @moduledoc """
  What can be said about the server of an agent, its snapshots and its directives: for all agents of an instance by its option
  `:agents`, for one by the options of `Kantoku.start_agent/3`, which come first.

    * `:store` - `{module, ref}` as `Kantoku.Store.open/2` gives it; `nil`: nothing outlives the process. In an instance the
      default is the instance's store, outside of one `nil`;
    * `:snapshot` - when a changed state is written:
      * `:every_change` (default) - at each change, before its caller is answered: a crash forgets nothing that was acknowledged;
      * `{:every, n}` - at every n-th change;
      * `{:interval, ms}` - at most this long after a change;
      * `:on_stop` - when the process ends;
      * `:manual` - when the process ends, and when `Kantoku.Agent.Server.snapshot/2` asks;

      Whatever is said here, a change that makes directives is written before they are delivered, and what is unwritten when a
      server ends other than by `:kill` is written then;
    * `:durability` - with a store that writes in the background, `:sync` answers a call when what it depends on is committed;
      `:async` (default) when it is handed over. A store that is busy or fails is tried again every second, and at each change;
      meanwhile only the process has what is new. `:sync` needs `snapshot: :every_change`;
    * `:on_damaged` - a snapshot that cannot be read is set aside and the agent starts `:fresh` (default), or stays where it is and the
      agent is parked (`:park`), again at each attempt, until someone sets it aside (`Kantoku.Store.set_aside/2`);
    * `:max_snapshot_bytes` - larger snapshots are not written (default 16 MiB);
    * `:handler` - the module whose `handle_directive/3` carries directives out; the agent's own by default;
    * `:directive_attempts` - how often one directive is tried by one incarnation (default 10; or `:infinity`);
    * `:directive_backoff` - `{base, cap}` in ms of the doubling pause between attempts, with jitter (default `{200, 30_000}`);
    * `:on_undeliverable` - after the last attempt, `:park` (default): the agent is parked and nothing is lost, or `:drop`: the directive is;
    * `:redact` - keep state, actions and directives out of crash reports and `:sys.get_status/1` (default `true`);
    * `:max_busy` - ms that one message may take. An agent at it for longer is stuck, and restarted (`Kantoku.Health`); what it waits for
      by `Kantoku.waiting/2` does not count. `nil` (default): nobody knows, and it is never restarted for that;
    * `:hibernate_after` - ms without a message until the process is packed to its least size (default 1,000; or `:infinity`). It is some 90
      bytes less if the module has no `handle_info/2`.
  """

  @default_max_bytes 16 * 1024 * 1024

  defstruct store: nil,
            snapshot: :every_change,
            durability: :async,
            on_damaged: :fresh,
            max_snapshot_bytes: @default_max_bytes,
            handler: nil,
            directive_attempts: 10,
            directive_backoff: {200, 30_000},
            on_undeliverable: :park,
            redact: true,
            max_busy: nil,
            hibernate_after: 1_000

  @type snapshot ::
          :every_change | {:every, pos_integer} | {:interval, pos_integer} | :on_stop | :manual

  @type t :: %__MODULE__{
          store: Kantoku.Store.t() | nil,
          snapshot: snapshot,
          durability: :async | :sync,
          on_damaged: :fresh | :park,
          max_snapshot_bytes: pos_integer,
          handler: module | nil,
          directive_attempts: pos_integer | :infinity,
          directive_backoff: {base :: pos_integer, cap :: pos_integer},
          on_undeliverable: :park | :drop,
          redact: boolean,
          max_busy: pos_integer | nil,
          hibernate_after: timeout
        }

  @doc "The names of all options."
  @spec names() :: [atom]
  def names, do: Map.keys(%__MODULE__{}) -- [:__struct__]

  @doc """
  Checks options, given as a map or keyword list, and fills in the defaults.

      iex> options = Kantoku.Agent.Options.new!(snapshot: {:every, 10})
      iex> {options.snapshot, options.durability}
      {{:every, 10}, :async}
  """
  @spec new!(t | map | keyword) :: t
  def new!(%__MODULE__{} = options), do: options

  def new!(options) do
    options |> Enum.each(&check!/1)
    options = struct!(__MODULE__, options)
    together!(options)
  end

  @doc "What was given (a map, checked), and for the rest what `defaults` say. Raises `ArgumentError` if the two do not go together."
  @spec merge!(t, map) :: t
  def merge!(defaults, given) when given == %{}, do: defaults
  def merge!(defaults, given), do: defaults |> struct!(given) |> together!()

  defp together!(%{durability: :sync, snapshot: snapshot}) when snapshot != :every_change do
    raise ArgumentError, "option :durability is :sync, which expects snapshot: :every_change, got: #{inspect(snapshot)}"
  end

  defp together!(options), do: options

  defp check!({name, value}) do
    case expected(name, value) do
      true -> :ok
      :unknown -> raise ArgumentError, "unknown option #{inspect(name)}, expected one of #{inspect(names())}"
      text -> raise ArgumentError, "option #{inspect(name)} expects #{text}, got: #{inspect(value)}"
    end
  end

  defguardp is_positive(value) when is_integer(value) and value > 0
  defguardp is_name(value) when is_atom(value) and value not in [nil, true, false]

  defp expected(:store, value) do
    match?({module, _ref} when is_name(module), value) or value == nil or "{module, ref} or nil"
  end

  defp expected(:snapshot, value) when value in [:every_change, :on_stop, :manual], do: true
  defp expected(:snapshot, {kind, n}) when kind in [:every, :interval] and is_positive(n), do: true
  defp expected(:snapshot, _), do: ":every_change, {:every, n}, {:interval, ms}, :on_stop or :manual"

  defp expected(:durability, value), do: value in [:async, :sync] or ":async or :sync"
  defp expected(:on_damaged, value), do: value in [:fresh, :park] or ":fresh or :park"
  defp expected(:max_snapshot_bytes, value), do: is_positive(value) or "a positive number of bytes"
  defp expected(:handler, value), do: is_name(value) or value == nil or "a module or nil"

  defp expected(:directive_attempts, value),
    do: is_positive(value) or value == :infinity or "a positive integer or :infinity"

  defp expected(:directive_backoff, {base, cap}) when is_positive(base) and is_positive(cap) and base <= cap, do: true
  defp expected(:directive_backoff, _), do: "{base, cap} in ms, with 0 < base <= cap"
  defp expected(:on_undeliverable, value), do: value in [:park, :drop] or ":park or :drop"
  defp expected(:redact, value), do: is_boolean(value) or "a boolean"

  defp expected(:max_busy, value), do: is_positive(value) or value == nil or "ms or nil"

  defp expected(:hibernate_after, value),
    do: (is_integer(value) and value >= 0) or value == :infinity or "ms or :infinity"

  defp expected(_name, _value), do: :unknown
end
