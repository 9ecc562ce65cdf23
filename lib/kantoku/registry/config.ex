defmodule Kantoku.Registry.Config do
  # A registry's settings: checked once, then read from the registry's named table, where its metadata is too. Knows
  # nothing of entries.
  #
  # Rows of the table: metadata under atoms and tuples; settings under negative integers; each partition's process under
  # its index.
  @moduledoc false

  @settings -1
  @keys -2
  @options [:keys, :name, :partitions, :listeners, :meta, :compressed, :engine, :resolver]

  @enforce_keys [:name, :keys]
  defstruct @enforce_keys ++ [partitions: 1, listeners: [], meta: [], engine: :native, resolver: :keep]

  @type t :: %__MODULE__{
          name: atom,
          keys: :unique | :duplicate,
          partitions: pos_integer,
          listeners: [atom],
          meta: keyword,
          engine: Kantoku.Engine.kind(),
          resolver: Kantoku.Registry.resolver()
        }

  @doc "Checks start options; raises `ArgumentError` on a bad one."
  @spec new!(keyword) :: t
  def new!(options) do
    checked =
      Enum.map([:keys, :name, :meta, :partitions, :listeners, :compressed, :engine, :resolver], &check!(&1, options))

    unknown!(Keyword.keys(options) -- @options)
    struct!(__MODULE__, checked |> Enum.reject(&(&1 == nil)) |> Keyword.delete(:compressed))
  end

  defp check!(:keys, options) do
    keys = Keyword.get(options, :keys)
    expect!(keys in [:unique, :duplicate], ":keys to be given and be one of :unique or :duplicate", keys)
    {:keys, keys}
  end

  defp check!(:name, options) do
    case Keyword.fetch(options, :name) do
      {:ok, name} when is_atom(name) -> {:name, name}
      {:ok, other} -> refuse!(":name to be an atom", other)
      :error -> raise ArgumentError, "expected :name option to be present"
    end
  end

  defp check!(option, options) do
    with {:ok, value} <- Keyword.fetch(options, option) do
      expect!(valid?(option, value), expected(option), value)
      {option, value}
    else
      :error -> nil
    end
  end

  defp valid?(:meta, meta), do: Keyword.keyword?(meta)
  defp valid?(:partitions, partitions), do: is_integer(partitions) and partitions >= 1
  defp valid?(:listeners, listeners), do: is_list(listeners) and Enum.all?(listeners, &is_atom/1)
  defp valid?(:compressed, compressed), do: is_boolean(compressed)
  defp valid?(:engine, engine), do: engine in [:native, :elixir]
  defp valid?(:resolver, resolver), do: resolver in [:keep, :replace] or is_function(resolver, 3)

  defp expected(:meta), do: ":meta to be a keyword list"
  defp expected(:partitions), do: ":partitions to be a positive integer"
  defp expected(:listeners), do: ":listeners to be a list of named processes"
  defp expected(:compressed), do: ":compressed to be a boolean"
  defp expected(:engine), do: ":engine to be :native or :elixir"
  defp expected(:resolver), do: ":resolver to be :keep, :replace or a function of three arguments"

  defp expect!(true, _expected, _value), do: :ok
  defp expect!(false, expected, value), do: refuse!(expected, value)

  @spec refuse!(String.t(), term) :: no_return
  defp refuse!(expected, value), do: raise(ArgumentError, "expected #{expected}, got: #{inspect(value)}")

  defp unknown!([]), do: :ok

  defp unknown!([option | _]) do
    raise ArgumentError, "unknown option #{inspect(option)}, expected one of #{inspect(@options -- [:compressed])}"
  end

  @doc "Makes the registry's table and writes settings and metadata; the caller owns it."
  @spec publish(t) :: :ok
  def publish(config) do
    :ets.new(config.name, [:set, :public, :named_table, read_concurrency: true])
    :ets.insert(config.name, [{@settings, config}, {@keys, config.keys} | config.meta])
    :ok
  end

  @spec fetch!(atom) :: t
  def fetch!(registry) do
    [{_key, config}] = :ets.lookup(registry, @settings)
    config
  rescue
    _no_table in [ArgumentError, MatchError] -> unknown_registry!(registry)
  end

  @doc "Whether a registry's keys are unique; less to copy than all its settings."
  @spec keys!(atom) :: :unique | :duplicate
  def keys!(registry) do
    :ets.lookup_element(registry, @keys, 2)
  rescue
    ArgumentError -> unknown_registry!(registry)
  end

  @doc "Says that there is no such registry."
  @spec unknown_registry!(atom) :: no_return
  @spec unknown_registry!(atom, String.t()) :: no_return
  def unknown_registry!(registry, detail \\ "") do
    raise ArgumentError, "unknown registry: #{inspect(registry)}" <> detail
  end

  @spec put_partition(atom, non_neg_integer, pid) :: true
  def put_partition(registry, index, pid), do: :ets.insert(registry, {index, pid})

  @doc "The partition that a term belongs to."
  @spec partition!(atom, term) :: pid
  def partition!(registry, term) do
    index = :erlang.phash2(term, fetch!(registry).partitions)

    case :ets.lookup(registry, index) do
      [{_index, pid}] -> pid
      [] -> unknown_registry!(registry)
    end
  end

  @spec meta(atom, atom | tuple) :: {:ok, term} | :error
  def meta(registry, key) do
    case :ets.lookup(registry, key) do
      [{_key, value}] -> {:ok, value}
      [] -> :error
    end
  rescue
    ArgumentError ->
      unknown_registry!(
        registry,
        ". Either the registry name is invalid or the registry is not running, " <>
          "possibly because its application isn't started"
      )
  end

  @spec put_meta(atom, atom | tuple, term) :: :ok
  def put_meta(registry, key, value) do
    :ets.insert(registry, {key, value})
    :ok
  rescue
    ArgumentError -> unknown_registry!(registry)
  end

  @spec delete_meta(atom, atom | tuple) :: :ok
  def delete_meta(registry, key) do
    :ets.delete(registry, key)
    :ok
  rescue
    ArgumentError -> unknown_registry!(registry)
  end
end
