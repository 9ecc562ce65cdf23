defmodule Kantoku.Metrics.Definition do
  # What a metric is, checked once: its name and labels by Prometheus's rules. Knows no instance.
  @moduledoc false

  alias Kantoku.Options

  @schema [
    help: [kind: {:like, "a text", &is_binary/1}, default: "", doc: "what it says, for who reads it."],
    unit: [
      kind: {:one_of, [nil, :seconds, :bytes, :ratio]},
      default: nil,
      doc: "`:seconds`, `:bytes` or `:ratio`; the name ends with it."
    ],
    labels: [kind: {:list, :atom}, default: [], doc: "names of labels; each series has a value for each."]
  ]

  @least [
    least: [
      kind: {:like, "a number from 1.0e-280 to 1.0e280", &__MODULE__.measurable?/1},
      default: nil,
      doc:
        "the least that is told apart from less; the most is four thousand million times that. By default 1, of seconds about a " <>
          "microsecond (to more than an hour), of a ratio a thousandth."
    ]
  ]

  # OpenMetrics, "Suffixes": what is written out adds these.
  @suffixes ~w(_total _created _bucket _count _sum _gcount _gsum _info)
  # Prometheus, "Standard and runtime collectors", as they are without the suffix.
  @process ~w(cpu_seconds open_fds max_fds virtual_memory_bytes virtual_memory_max_bytes resident_memory_bytes heap_bytes start_time_seconds
    threads)

  # Of our own: an instance, a bucket, a quantile.
  @taken [:instance, :le, :quantile]

  @enforce_keys [:name, :kind, :help, :unit, :labels, :ticks]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          name: String.t(),
          kind: Kantoku.Engine.Metrics.kind(),
          help: String.t(),
          unit: Kantoku.Engine.Metrics.unit(),
          labels: [atom],
          ticks: float
        }

  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema ++ @least)

  @doc "A user's metric; raises `ArgumentError`."
  @spec new!(term, Kantoku.Engine.Metrics.kind(), keyword) :: t
  def new!(name, kind, opts) do
    users!(name)
    own!(name, kind, opts)
  end

  @doc "Raises `ArgumentError` for the name of what we measure ourselves."
  @spec users!(term) :: :ok
  def users!("kantoku_" <> _ = name), do: own_name!(name)
  def users!("erlang_vm_" <> _ = name), do: own_name!(name)
  def users!("process_" <> of = name) when of in @process, do: own_name!(name)
  def users!(_name), do: :ok

  @spec own_name!(String.t()) :: no_return
  defp own_name!(name) do
    raise ArgumentError,
          "metric #{inspect(name)}: this name is one of Kantoku's own (kantoku_, erlang_vm_ and those that Prometheus has for a process); what " <>
            "it says can be read, with Kantoku.Metrics.snapshot/1 and quantile/4, but not declared or recorded"
  end

  @doc "Any metric."
  @spec own!(term, Kantoku.Engine.Metrics.kind(), keyword) :: t
  def own!(name, kind, opts) do
    where = "metric #{inspect(name)}"
    name!(name, where)
    checked = Options.validate!(opts, if(kind == :histogram, do: @schema ++ @least, else: @schema), where)
    unit!(name, checked.unit, where)
    labels!(checked.labels, where)

    %__MODULE__{
      name: name,
      kind: kind,
      help: checked.help,
      unit: checked.unit,
      labels: checked.labels,
      ticks: ticks(checked[:least], checked.unit)
    }
  end

  defp name!(name, where) do
    unless is_binary(name) and name =~ ~r/\A[a-zA-Z_][a-zA-Z0-9_]*\z/,
      do: raise(ArgumentError, "#{where}: expected a text of letters, digits and _, that does not begin with a digit")

    if suffix = Enum.find(@suffixes, &String.ends_with?(name, &1)),
      do: raise(ArgumentError, "#{where}: expected a name without #{suffix}, which is added where it is written out")
  end

  defp unit!(_name, nil, _where), do: :ok

  defp unit!(name, unit, where) do
    unless String.ends_with?(name, "_#{unit}"),
      do: raise(ArgumentError, "#{where}, option :unit: expected a name that ends with _#{unit}")
  end

  defp labels!(labels, where) do
    for label <- labels, text = Atom.to_string(label) do
      cond do
        label in @taken -> raise ArgumentError, "#{where}, option :labels: #{inspect(label)} has a meaning of its own"
        text =~ ~r/\A(?!__)[a-zA-Z_][a-zA-Z0-9_]*\z/ -> :ok
        true -> raise ArgumentError, "#{where}, option :labels: expected letters, digits and _, got: #{inspect(label)}"
      end
    end

    if labels != Enum.uniq(labels),
      do: raise(ArgumentError, "#{where}, option :labels: expected each label once, got: #{inspect(labels)}")
  end

  # So that no bound, and no sum, is beyond what a float can be.
  @doc false
  def measurable?(given), do: is_nil(given) or (is_number(given) and given >= 1.0e-280 and given <= 1.0e280)

  # The scale begins at 1024 ticks.
  defp ticks(nil, :seconds), do: 1.0e9
  defp ticks(nil, :ratio), do: 1_024_000.0
  defp ticks(nil, _unit), do: 1_024.0
  defp ticks(least, _unit), do: 1_024 / least

  @doc "The values of a series' labels as texts, in order; raises if others are given than it has."
  @spec values!(t, Enumerable.t()) :: [String.t()]
  def values!(%{labels: labels} = definition, given) do
    case labelled(given) do
      %{} = named when map_size(named) == length(labels) -> Enum.map(labels, &value!(named, &1, definition))
      _others -> wrong!(definition, given)
    end
  end

  defp labelled(given) when is_map(given), do: given
  defp labelled(given), do: if(Keyword.keyword?(given), do: Map.new(given))

  defp value!(named, label, definition) do
    case named do
      %{^label => value} -> text(value)
      _without -> wrong!(definition, named)
    end
  end

  defp wrong!(%{name: name, labels: labels}, given) do
    raise ArgumentError, "metric #{inspect(name)}: expected labels #{inspect(labels)}, got: #{inspect(given)}"
  end

  # Of a longer text, the beginning; in bytes.
  @longest 200

  @doc "A term as a label's value. Of modules the name as it is written."
  @spec text(term) :: String.t()
  def text(value) when is_binary(value), do: if(String.valid?(value), do: short(value), else: short(inspect(value)))
  def text(value) when is_atom(value), do: short(atom(Atom.to_string(value)))
  def text(value), do: value |> inspect() |> short()

  defp atom("Elixir." <> module), do: module
  defp atom(text), do: text

  defp short(text) when byte_size(text) <= @longest, do: text

  # A part of its own, that what was longer can go.
  defp short(text) do
    case text |> binary_part(0, @longest) |> :unicode.characters_to_binary() do
      {:incomplete, whole, _cut} -> :binary.copy(whole)
      whole -> :binary.copy(whole)
    end
  end

  @doc "Whether labels are no more than their texts say: only so many can be the same series."
  @spec plain?(t, Enumerable.t()) :: boolean
  def plain?(%{labels: names}, given),
    do: Enum.count(given) == length(names) and Enum.all?(given, fn {_label, value} -> whole?(value) end)

  defp whole?(text) when is_binary(text), do: byte_size(text) <= @longest and String.valid?(text)
  defp whole?(atom) when is_atom(atom), do: byte_size(Atom.to_string(atom)) <= @longest
  defp whole?(value), do: is_integer(value) and abs(value) < 0x8000_0000_0000_0000
end
