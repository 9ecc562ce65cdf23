defmodule Kantoku.Pool.Quota do
  # Limits of requests or tokens a minute, from what users write to what the engine takes. Knows no pool.
  @moduledoc false

  alias Kantoku.Engine
  alias Kantoku.Pool.Request

  @doc "Checks quotas; raises `ArgumentError` that begins with `where`."
  @spec list!(list, String.t()) :: [Engine.Pools.quota()]
  def list!(quotas, where), do: Enum.map(quotas, &one!(&1, "#{where}, option :quotas"))

  # Has been checked before.
  defp one!({_who, what, _per_minute, _burst} = checked, _where) when what in [:requests, :tokens], do: checked

  defp one!({who, [{what, per_minute} | rest]} = quota, where) when what in [:requests, :tokens] do
    {who!(who, where), what, positive!(per_minute, quota, where), burst!(rest, per_minute, quota, where)}
  end

  defp one!(other, where), do: refuse!(where, other)

  defp who!(who, _where) when who in [:pool, :each], do: who
  defp who!({:tenant, tenant}, where), do: {:tenant, Request.tenant!(tenant, where)}
  defp who!(other, where), do: refuse!(where, other)

  defp burst!([], per_minute, _quota, _where), do: per_minute
  defp burst!([burst: burst], _per_minute, quota, where), do: positive!(burst, quota, where)
  defp burst!(_rest, _per_minute, quota, where), do: refuse!(where, quota)

  defp positive!(number, _quota, _where) when is_integer(number) and number in 1..0xFFFFFFFF, do: number
  defp positive!(_number, quota, where), do: refuse!(where, quota)

  defp refuse!(where, given) do
    raise ArgumentError,
          "#{where}: expected {:pool | :each | {:tenant, tenant}, requests: n} or tokens: n, and burst: n, got: #{inspect(given)}"
  end
end
