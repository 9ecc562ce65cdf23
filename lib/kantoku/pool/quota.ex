defmodule Kantoku.Pool.Quota do
  # Limits of requests or tokens a minute, from what users write to what the engine takes; and of memory, of which the engine is only told
  # when it is used up. Knows no pool.
  @moduledoc false

  alias Kantoku.Engine
  alias Kantoku.Pool.Request

  @type t :: Engine.Pools.quota() | {:memory, bytes :: pos_integer}

  @doc "Those that the engine counts."
  @spec rates([t]) :: [Engine.Pools.quota()]
  def rates(quotas), do: for({_who, _what, _per_minute, _burst} = rate <- quotas, do: rate)

  @doc "How many bytes the workers may use together; `nil`: no limit."
  @spec memory([t]) :: pos_integer | nil
  def memory(quotas), do: for({:memory, bytes} <- quotas, do: bytes) |> Enum.min(fn -> nil end)

  @doc "Checks quotas; raises `ArgumentError` that begins with `where`."
  @spec list!(list, String.t()) :: [t]
  def list!(quotas, where), do: Enum.map(quotas, &one!(&1, "#{where}, option :quotas"))

  defp one!({:memory, bytes}, _where) when is_integer(bytes) and bytes > 0, do: {:memory, bytes}

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
          "#{where}: expected {:pool | :each | {:tenant, tenant}, requests: n} or tokens: n, and burst: n, or {:memory, bytes}, got: #{inspect(given)}"
  end
end
