defmodule Kantoku.Native do
  @moduledoc """
  The Rust core: the functions of the native library, and what is known of it.

  Every function here is replaced by the library's when that loads. Without a library each answers `:unknown`, as it does
  for an instance it does not keep, and so the Elixir engine serves (`Kantoku.Engine`).

  The library sits in the application's `priv/native` under a name that carries its build's hash, because the system's loader
  hands back an old library for an old path. `status/0` tells which one serves, or why none does.
  """

  @behaviour Kantoku.Engine
  @behaviour Kantoku.Engine.Pools
  @behaviour Kantoku.Engine.Breakers
  @behaviour Kantoku.Engine.Health
  @behaviour Kantoku.Engine.Traces
  @behaviour Kantoku.Engine.Metrics
  @on_load :load

  @reason {__MODULE__, :not_loaded}

  @typedoc "Which library serves: its build, and the stamp of its layout in memory."
  @type library :: {build :: String.t(), layout :: String.t()}

  @doc false
  def load do
    case load_from(library_path()) do
      :ok -> loaded()
      # A newer module cannot serve with the state of the older: the older stays.
      {:error, {:upgrade, text}} -> refused({:upgrade, sentence(text)})
      {:error, reason} -> not_loaded(reason)
    end
  end

  defp load_from({:ok, path}), do: :erlang.load_nif(String.to_charlist(path), load_info())
  defp load_from({:error, _} = error), do: error

  defp load_info, do: :persistent_term.get({__MODULE__, :load_info}, :ok)

  defp loaded do
    :persistent_term.erase(@reason)
    :ok
  end

  defp refused(reason) do
    :persistent_term.put({__MODULE__, :refused}, {:error, reason})
    {:error, reason}
  end

  defp not_loaded(reason) do
    :persistent_term.put(@reason, sentence(reason))
    :ok
  end

  @doc """
  Which library serves, or a sentence on why none does and what to do.

      case Kantoku.Native.status() do
        {:ok, {_build, _layout}} -> :native
        {:error, sentence} -> sentence
      end
  """
  @spec status() :: {:ok, library} | {:error, String.t()}
  def status do
    case library() do
      {build, layout} -> {:ok, {build, layout}}
      _ -> {:error, :persistent_term.get(@reason, "the native library was not loaded")}
    end
  end

  @doc "Whether the native library serves."
  @spec loaded?() :: boolean
  def loaded?, do: library() != :unknown

  defp library_path do
    case chosen() || installed(:code.priv_dir(:kantoku)) do
      nil -> {:error, :absent}
      path -> {:ok, String.trim_trailing(path, ".so")}
    end
  end

  # Set by whoever upgrades to a library elsewhere.
  defp chosen, do: :persistent_term.get({__MODULE__, :library}, nil)

  defp installed({:error, _}), do: nil

  defp installed(priv) do
    with {:ok, name} <- File.read(Path.join([priv, "native", "current"])) do
      Path.join([priv, "native", String.trim(name)])
    else
      _ -> nil
    end
  end

  # What the loader said, as what it means and what to do.
  defp sentence(:absent) do
    "there is no native library in this build (KANTOKU_BUILD was off, or Rust was missing). " <>
      "The Elixir engine serves; build with Rust 1.91 or newer for the native one"
  end

  defp sentence({_kind, text}), do: sentence(to_string(text))

  defp sentence(text) do
    text = to_string(text)

    cond do
      text =~ ~r/upgrade-call unsuccessful \(2\)/ ->
        "the new native library keeps its state in another layout than the one that serves, so the old one goes on " <>
          "serving: restart the VM to use the new one"

      text =~ ~r/GLIBC_|libc\.musl|musl/ ->
        "the native library was built for another C library (#{text}): build it on the system that runs it, or on one " <>
          "with an older glibc. The Elixir engine serves meanwhile"

      text =~ ~r/wrong ELF class|invalid ELF header|cannot open shared object file: .*format|incompatible architecture/ ->
        "the native library was built for another architecture (#{text}): build it on " <>
          "#{:erlang.system_info(:system_architecture)}. The Elixir engine serves meanwhile"

      true ->
        "the native library did not load (#{text}). The Elixir engine serves meanwhile"
    end
  end

  # A stub's answer, kept from the compiler's eyes: the library's functions have others.
  defp without_library, do: :persistent_term.get({__MODULE__, :stub}, :unknown)

  @impl Kantoku.Engine
  def open(_instance, _keys, _servers, _listeners) do
    case without_library() do
      :unknown -> {:error, :unavailable}
      other -> other
    end
  end

  @impl Kantoku.Engine
  def close(_instance), do: :ok
  @impl Kantoku.Engine
  def seat(_instance, _index, _pid), do: without_library()
  @impl Kantoku.Engine
  def register(_instance, _key, _value), do: without_library()
  @impl Kantoku.Engine
  def take_over(_instance, _key, _value, _from), do: without_library()
  @impl Kantoku.Engine
  def claim(_instance, _key, _pid, _value), do: without_library()
  @impl Kantoku.Engine
  def introduce(_instance, _key, _pid, _value, _attributes, _facets), do: without_library()
  @impl Kantoku.Engine
  def disclaim(_instance, _key, _pid), do: without_library()
  @impl Kantoku.Engine
  def unregister(_instance, _key), do: without_library()
  @impl Kantoku.Engine
  def unregister(_instance, _key, _incarnations), do: without_library()
  @impl Kantoku.Engine
  def whereis(_instance, _key), do: without_library()
  @impl Kantoku.Engine
  def lookup(_instance, _key), do: without_library()
  @impl Kantoku.Engine
  def keys(_instance, _pid), do: without_library()
  @impl Kantoku.Engine
  def own(_instance, _key, _pid), do: without_library()
  @impl Kantoku.Engine
  def put_value(_instance, _key, _incarnation, _value), do: without_library()
  @impl Kantoku.Engine
  def slice(_instance, _cursor, _limit), do: without_library()
  @impl Kantoku.Engine
  def count_slice(_instance, _cursor, _limit), do: without_library()
  @impl Kantoku.Engine
  def describe(_instance, _key, _pid, _expected, _attributes, _facets), do: without_library()
  @impl Kantoku.Engine
  def entry(_instance, _key), do: without_library()
  @impl Kantoku.Engine
  def set_load(_instance, _handle, _load), do: without_library()
  @impl Kantoku.Engine
  def add_load(_instance, _handle, _delta), do: without_library()
  @impl Kantoku.Engine
  def find(_instance, _query), do: without_library()
  @impl Kantoku.Engine
  def find_pids(_instance, _query), do: without_library()
  @impl Kantoku.Engine
  def count(_instance, _query), do: without_library()
  @impl Kantoku.Engine
  def watch(_instance, _query, _pid), do: without_library()
  @impl Kantoku.Engine
  def unwatch(_instance, _reference), do: without_library()

  @impl Kantoku.Engine.Pools
  def pool_open(_instance, _pool, _foreman, _config), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_close(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_join(_instance, _pool, _pid, _member), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_leave(_instance, _pool, _pid), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_shut(_instance, _pool, _pid), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_eject(_instance, _pool, _member, _ms), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_readmit(_instance, _pool, _member), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_ejections(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_call(_instance, _pool, _tag, _request, _params), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_checkout(_instance, _pool, _tag, _params), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_cast(_instance, _pool, _request, _params), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_checkin(_instance, _pool, _ticket, _outcome), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_cancel(_instance, _pool, _ticket), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_reply(_instance, _pool, _tag, _reply), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_take(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_room(_instance, _pool, _tenant, _cost), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_lend(_instance, _pool, _tag, _terms), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_loan(_instance, _pool, _loan, _dealing, _count), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_answered(_instance, _pool, _ticket), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_abandoned(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_tick(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_status(_instance, _pool), do: without_library()
  @impl Kantoku.Engine.Pools
  def pool_workers(_instance, _pool), do: without_library()

  @impl Kantoku.Engine.Breakers
  def breaker_open(_instance, _name, _config, _now), do: without_library()
  @impl Kantoku.Engine.Breakers
  def breaker_close(_instance, _name), do: without_library()
  @impl Kantoku.Engine.Breakers
  def breaker_allow(_instance, _name), do: without_library()
  @impl Kantoku.Engine.Breakers
  def breaker_record(_instance, _name, _ticket, _ending, _duration), do: without_library()
  @impl Kantoku.Engine.Breakers
  def breaker_ask(_instance, _name, _command, _now), do: without_library()
  @impl Kantoku.Engine.Breakers
  def breaker_beat(_instance, _now), do: without_library()

  @impl Kantoku.Engine.Health
  def health_add(_instance, _parent, _spec, _pid, _now), do: without_library()
  @impl Kantoku.Engine.Health
  def health_change(_instance, _node, _spec, _now), do: without_library()
  @impl Kantoku.Engine.Health
  def health_remove(_instance, _node, _now), do: without_library()
  @impl Kantoku.Engine.Health
  def health_clear(_instance), do: without_library()
  @impl Kantoku.Engine.Health
  def health_report(_instance, _node, _probe, _outcome, _now), do: without_library()
  @impl Kantoku.Engine.Health
  def health_status(_instance, _node, _now), do: without_library()
  @impl Kantoku.Engine.Health
  def health_beat(_instance, _node, _limit), do: without_library()
  @impl Kantoku.Engine.Health
  def health_put_off(_instance, _node, _left), do: without_library()
  @impl Kantoku.Engine.Health
  def health_look(_instance, _cursor, _limit, _least, _now), do: without_library()

  @impl Kantoku.Engine.Traces
  def trace_open(_instance, _most, _most_bytes), do: without_library()
  @impl Kantoku.Engine.Traces
  def trace_put(_instance, _span), do: without_library()
  @impl Kantoku.Engine.Traces
  def trace_take(_instance, _most), do: without_library()
  @impl Kantoku.Engine.Traces
  def trace_counts(_instance), do: without_library()

  # Room for the spans of an instance of the other engine, which the four above then find here; Kantoku.Engine.Elixir.Traces says why.
  @doc false
  def trace_host(_instance, _most, _most_bytes), do: without_library()
  @doc false
  def trace_give_up(_instance, _number), do: without_library()

  @impl Kantoku.Engine.Metrics
  def metrics_open(_common, _series, _bytes), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_declare(_metrics, _name, _help, _shape, _labels), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_series(_metrics, _name, _values), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_bind(_metrics, _name, _values, _reading), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_unbind(_metrics, _name, _values, _reading), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_exemplar(_metrics, _name, _values, _value, _at, _ids), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_quantile(_metrics, _name, _values, _share), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_snapshot(_metrics), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metrics_bytes(_metrics), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metric_add(_series, _number), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metric_set(_series, _number), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metric_observe(_series, _number), do: without_library()
  @impl Kantoku.Engine.Metrics
  def metric_quantile(_series, _share), do: without_library()

  @doc """
  What the metrics of all instances of this VM say that this library keeps, each family once: what exporters read on a thread of their own.
  """
  @spec metrics_everything() :: [Kantoku.Engine.Metrics.family()] | :unknown
  def metrics_everything, do: without_library()

  @doc """
  Native bytes of an instance by what they are for (`:names`, `:owners`, `:index`, `:watches`; `:spare` for names to come; `:health`, `:spans`, `:pools`, `:breakers`),
  their sum in `:bytes`, and the number of its keys in `:entries`.
  """
  @spec stats(Kantoku.Engine.instance()) :: %{atom => non_neg_integer} | :unknown
  def stats(_instance), do: without_library()

  @doc "Says whether an instance takes no new names, as its memory is full. `:unknown` if this library does not keep it."
  @spec close_to_names(Kantoku.Engine.instance(), boolean) :: :ok | :unknown
  def close_to_names(_instance, _full?), do: without_library()

  @doc "Native `:bytes` of all instances and shared tables, open `:instances`, and `:shells`, places made for instances."
  @spec stats() :: %{atom => non_neg_integer} | :unknown
  def stats, do: without_library()

  # The files of Kantoku.Store.Disk, which says what these do.
  @doc false
  def store_open(_path, _options), do: without_library()
  @doc false
  def store_close(_file), do: without_library()
  @doc false
  def store_put(_file, _key, _incarnation, _revision, _bytes, _reply), do: without_library()
  @doc false
  def store_put_large(_file, _key, _incarnation, _revision, _bytes, _reply), do: without_library()
  @doc false
  def store_get(_file, _key), do: without_library()
  @doc false
  def store_delete(_file, _key, _incarnation, _revision), do: without_library()
  @doc false
  def store_set_aside(_file, _key), do: without_library()
  @doc false
  def store_flush(_file), do: without_library()
  @doc false
  def store_keys(_file, _after, _limit), do: without_library()
  @doc false
  def store_stats(_file), do: without_library()

  # What a VM exports; Kantoku.Exporters.Native says what these do.
  @doc false
  def exporters_start(_patience), do: without_library()
  @doc false
  def exporters_stop(_bound), do: without_library()
  @doc false
  def exporters_beat(_ready, _started), do: without_library()
  @doc false
  def exporters_answer(_id, _status, _kind, _body), do: without_library()
  @doc false
  def exporters_attach, do: without_library()
  @doc false
  def exporters_event(_instance, _name, _data), do: without_library()
  @doc false
  def exporters_events_dropped(_count), do: without_library()
  @doc false
  def exporters_readers, do: without_library()
  @doc false
  def exporters_history(_which, _query), do: without_library()
  @doc false
  def exporters_metrics(_accept, _given), do: without_library()
  @doc false
  def exporters_look(_given), do: without_library()
  @doc false
  def exporters_note(_instance, _name, _value), do: without_library()
  @doc false
  def exporters_give(_families), do: without_library()
  @doc false
  def exporters_listen(_address, _token, _admin, _hosts, _limits), do: without_library()
  @doc false
  def exporters_hang_up(_bound), do: without_library()
  @doc false
  def exporters_push(_name, _interval, _target), do: without_library()
  @doc false
  def exporters_end(_exporter, _bound), do: without_library()
  @doc false
  def exporters_flush(_bound), do: without_library()
  @doc false
  def exporters_status, do: without_library()

  @doc false
  def functions, do: without_library()

  @doc false
  def library, do: without_library()

  if Mix.env() == :test do
    @doc false
    def provoke(_entry), do: without_library()
  end
end
