defmodule Kantoku.Metrics.Standing do
  # How an instance's objectives, health and store stand, as metrics that are read when somebody looks. Counts nothing.
  @moduledoc false

  alias Kantoku.{Health, Metrics, SLO, Store}
  alias Kantoku.Metrics.Definition

  @typedoc "A family: its figure, and what it is."
  @type description :: {figure :: atom, Kantoku.Engine.Metrics.kind(), name :: String.t(), keyword}

  @typedoc "By figure, the labels of each series, whose values are any terms, and what it says."
  @type figures :: %{atom => [{labels :: keyword, number}]}

  @doc "The families that it has, whether there is anything to say or not."
  @callback all() :: [description]

  @doc "What there is to say of an instance; of labels no more series than a family may have."
  @callback figures(instance :: atom) :: figures

  @sources [SLO.Families, Health.Families, Store.Families]

  @doc "All of them: name, kind and help."
  @spec all() :: [{String.t(), Kantoku.Engine.Metrics.kind(), String.t()}]
  def all, do: for(source <- @sources, {_figure, kind, name, opts} <- source.all(), do: {name, kind, opts[:help]})

  @doc "Those of an instance that say something now; none of one that does not run."
  @spec of(instance :: atom) :: [Metrics.family()]
  def of(instance) do
    for source <- @sources,
        found = source.figures(instance),
        {figure, kind, name, opts} <- source.all(),
        [_ | _] = series <- [Map.get(found, figure, [])] do
      series = for {labels, value} <- series, do: %{labels: labels([instance: instance] ++ labels), value: value / 1}
      %{name: name, help: opts[:help], unit: unit(opts[:unit]), kind: kind, series: series}
    end
  end

  defp labels(labels), do: Map.new(labels, fn {name, value} -> {Atom.to_string(name), Definition.text(value)} end)

  defp unit(unit), do: unit && Atom.to_string(unit)

  # Who has series of their own, of each family.
  @own 100

  @doc "Things by their labels, in an order that stays, those beyond #{@own} together as `others`."
  @spec capped([{labels, thing}], labels) :: [{labels, [thing]}] when labels: keyword, thing: term
  def capped(things, others) do
    things = Enum.map(things, fn {labels, thing} -> {texts(labels), thing} end)
    own = things |> Enum.map(&elem(&1, 0)) |> Enum.uniq() |> Enum.sort()
    own = MapSet.new(if length(own) > @own, do: Enum.take(own, @own - 1), else: own)
    of = fn labels -> if labels in own, do: labels, else: others end
    things |> Enum.group_by(fn {labels, _} -> of.(labels) end, &elem(&1, 1)) |> Enum.sort()
  end

  # Those that are written alike are one.
  defp texts(labels), do: for({name, value} <- labels, do: {name, Definition.text(value)})
end
