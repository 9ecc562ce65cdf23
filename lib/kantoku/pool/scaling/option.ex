defmodule Kantoku.Pool.Scaling.Option do
  # A pool's option `:scaling`: from what users write to a policy whose bounds are the pool's own. Knows no other option.
  @moduledoc false

  alias Kantoku.Pool.Scaler.Policy

  @bounds [:min, :max]

  @doc "Whether this is what the option takes, as far as its shape goes."
  @spec fits?(term) :: boolean
  def fits?(given), do: given in [false, nil] or is_struct(given, Policy) or Keyword.keyword?(given)

  @doc "A pool's options with the bounds that stand in `:scaling` moved to its own. Raises if one stands in both places."
  @spec lift!(term, String.t()) :: term
  def lift!(options, where) do
    if Keyword.keyword?(options) and Keyword.keyword?(options[:scaling]),
      do: lifted!(options, Keyword.split(options[:scaling], @bounds), where),
      else: options
  end

  defp lifted!(options, {bounds, rest}, where) do
    for {bound, given} <- bounds, Keyword.has_key?(options, bound) do
      raise ArgumentError,
            "#{where}, option :scaling, option #{inspect(bound)}: expected nothing, as it stands among the pool's own options, " <>
              "got: #{inspect(given)}"
    end

    options |> Keyword.put(:scaling, rest) |> Keyword.merge(bounds)
  end

  @doc "The policy after `given`; its bounds are not yet the pool's. `nil`: the pool is not scaled."
  @spec policy!(Policy.t() | nil, term, String.t()) :: Policy.t() | nil
  def policy!(_old, off, _where) when off in [false, nil], do: nil
  def policy!(_old, %Policy{} = checked, _where), do: checked
  def policy!(nil, given, where), do: Policy.new!([max: 1] ++ given, "#{where}, option :scaling")
  def policy!(old, given, where), do: Policy.change!(old, given, "#{where}, option :scaling")

  @doc "The policy with the pool's bounds. A pool is not scaled to none, though it may begin so."
  @spec bounded(Policy.t() | nil, non_neg_integer, non_neg_integer) :: Policy.t() | nil
  def bounded(nil, _min, _max), do: nil
  def bounded(policy, min, max), do: %{policy | min: max(min, 1), max: max}
end
