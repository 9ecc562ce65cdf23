defmodule Kantoku.Pool.Quota do
  # Limits of requests or tokens a minute, from what users write to what the engine takes; and of what workers use, of which the engine is
  # only told when it is too much. Knows no pool.
  @moduledoc false

  alias Kantoku.Engine
  alias Kantoku.Pool.Request

  @type t :: Engine.Pools.quota() | {:memory, bytes :: pos_integer} | {:cpu, percent :: number}

  @typedoc "What all workers may use together, in bytes and in percent of the schedulers' time; `nil`: no limit."
  @type used :: %{memory: pos_integer | nil, cpu: number | nil}

  @doc "Those that the engine counts."
  @spec rates([t]) :: [Engine.Pools.quota()]
  def rates(quotas), do: for({_who, _what, _per_minute, _burst} = rate <- quotas, do: rate)

  @doc "What the workers may use together."
  @spec used([t]) :: used
  def used(quotas), do: %{memory: least(quotas, :memory), cpu: least(quotas, :cpu)}

  @doc "Whether there is such a limit."
  @spec used?([t]) :: boolean
  def used?(quotas), do: used(quotas) != %{memory: nil, cpu: nil}

  defp least(quotas, what), do: for({^what, most} <- quotas, do: most) |> Enum.min(fn -> nil end)

  @doc "Checks quotas; raises `ArgumentError` that begins with `where`."
  @spec list!(list, String.t()) :: [t]
  def list!(quotas, where), do: Enum.map(quotas, &one!(&1, "#{where}, option :quotas"))

  defp one!({:memory, bytes}, _where) when is_integer(bytes) and bytes > 0, do: {:memory, bytes}

  defp one!({:cpu, percent}, _where) when is_number(percent) and percent > 0 and percent <= 100, do: {:cpu, percent}

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
          "#{where}: expected {:pool | :each | {:tenant, tenant}, requests: n} or tokens: n, and burst: n, {:memory, bytes} or {:cpu, percent}, got: #{inspect(given)}"
  end
end
