defmodule Kantoku.Migration.Option do
  # The option `:migration` of an instance, checked. Knows no instance.
  @moduledoc false

  alias Kantoku.Migration.{Judge, Mode}
  alias Kantoku.Options

  @features [:supervision, :registry, :pools, :state, :health]
  @where "Kantoku, option :migration"

  @schema Enum.map(@features, fn feature ->
            {feature,
             [kind: :any, default: [], doc: "the modes of subjects, as a map or a list of pairs `{subject, mode}`."]}
          end) ++ [canary: [kind: :keyword, default: [], doc: "how canaries are judged; see `Kantoku.Migration`."]]

  @type t :: %{rules: Judge.rules(), modes: %{{atom, term} => Mode.t()}}

  @spec features() :: [atom]
  def features, do: @features

  @doc "From the option as it is given; raises `ArgumentError`."
  @spec new!(term) :: t
  def new!(options) do
    checked = Options.validate!(options, @schema, @where)

    modes =
      for feature <- @features, {subject, mode} <- pairs!(feature, checked[feature]), into: %{} do
        {{feature, subject}, Mode.check!(mode, "#{@where}, option #{inspect(feature)}, subject #{inspect(subject)}")}
      end

    %{rules: Judge.rules!(checked.canary, "#{@where}, option :canary"), modes: modes}
  end

  defp pairs!(_feature, %{} = map), do: Map.to_list(map)

  defp pairs!(feature, list) do
    if is_list(list) and Enum.all?(list, &match?({_, _}, &1)), do: list, else: refuse!(feature, list)
  end

  @spec refuse!(atom, term) :: no_return
  defp refuse!(feature, given) do
    raise ArgumentError,
          "#{@where}, option #{inspect(feature)}: expected a map or a list of {subject, mode}, got: #{inspect(given)}"
  end

  @doc "Whether it is a feature, or `ArgumentError`."
  @spec feature!(term) :: atom
  def feature!(feature) when feature in @features, do: feature

  def feature!(other) do
    raise ArgumentError, "Kantoku.Migration, feature: expected one of #{inspect(@features)}, got: #{inspect(other)}"
  end
end
