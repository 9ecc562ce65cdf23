defmodule Kantoku.Pool.Request do
  # The options of one request: checked, and in the form that the engine takes. Not asked of a request without any.
  @moduledoc false

  alias Kantoku.Engine

  @timeout 5_000

  defstruct timeout: @timeout, replies: :strict, tenant: nil, priority: 1, cost: 1, key: nil

  @type t :: %__MODULE__{
          timeout: timeout,
          replies: :strict | :fast,
          tenant: Engine.Pools.tenant(),
          priority: Engine.Pools.priority(),
          cost: 1..1_000_000,
          key: nil | {:key, term}
        }

  @doc "The time-out of a request that does not say, in ms: that of `GenServer.call/3`."
  @spec timeout() :: pos_integer
  def timeout, do: @timeout

  @doc "Checks the options of a request."
  @spec new!(keyword) :: t
  def new!(opts) do
    is_list(opts) || refuse!("options of a request", "a keyword list", opts)
    Enum.reduce(opts, %__MODULE__{}, &option/2)
  end

  defp option({:timeout, :infinity}, request), do: %{request | timeout: :infinity}

  defp option({:timeout, ms}, request) when is_integer(ms) and ms >= 0 and ms <= 0xFFFFFFFF,
    do: %{request | timeout: ms}

  defp option({:timeout, other}, _request), do: refuse!(:timeout, "ms or :infinity", other)
  defp option({:tenant, tenant}, request), do: %{request | tenant: tenant!(tenant, "option :tenant")}
  defp option({:priority, :high}, request), do: %{request | priority: 0}
  defp option({:priority, :normal}, request), do: %{request | priority: 1}
  defp option({:priority, :low}, request), do: %{request | priority: 2}
  defp option({:priority, other}, _request), do: refuse!(:priority, ":high, :normal or :low", other)
  defp option({:cost, cost}, request) when is_integer(cost) and cost in 1..1_000_000, do: %{request | cost: cost}
  defp option({:cost, other}, _request), do: refuse!(:cost, "an integer from 1 to 1_000_000", other)
  defp option({:key, key}, request), do: %{request | key: {:key, key}}
  # For who traces, where anybody does.
  defp option({:trace, nil}, request), do: request
  defp option({:trace, %Kantoku.Trace.Context{}}, request), do: request
  defp option({:trace, other}, _request), do: refuse!(:trace, "a Kantoku.Trace.Context or nil", other)
  defp option({:replies, replies}, request) when replies in [:strict, :fast], do: %{request | replies: replies}
  defp option({:replies, other}, _request), do: refuse!(:replies, ":strict or :fast", other)

  defp option(other, _request) do
    names = [:timeout, :tenant, :priority, :cost, :key, :replies, :trace]
    refuse!("options of a request", "some of #{inspect(names)}", other)
  end

  @doc "A tenant as it may be; raises `ArgumentError` that begins with `where`."
  @spec tenant!(term, String.t()) :: Engine.Pools.tenant()
  def tenant!(tenant, _where) when is_atom(tenant), do: tenant
  def tenant!(tenant, _where) when is_binary(tenant) and byte_size(tenant) <= 255, do: tenant

  def tenant!(tenant, _where) when is_integer(tenant) and tenant in -0x800000000000000..0x7FFFFFFFFFFFFFF,
    do: tenant

  def tenant!(other, where) do
    raise ArgumentError,
          "#{where}: expected a tenant (an atom, an integer of up to 60 bits or a binary of up to 255 bytes), got: #{inspect(other)}"
  end

  @doc "What the engine is told; `route` as the pool's strategy has it."
  @spec params(t, pid | nil) :: Engine.Pools.params()
  def params(request, route \\ nil)
  def params(%{tenant: nil, priority: 1, cost: 1, timeout: :infinity, key: nil}, nil), do: nil

  def params(request, route) do
    {request.tenant, request.priority, request.cost, request.timeout, route || hashed(request.key)}
  end

  defp hashed(nil), do: nil
  defp hashed({:key, key}), do: :erlang.phash2(key, 0x100000000)

  defp refuse!(option, expected, given) do
    name = if is_atom(option), do: "option #{inspect(option)}", else: option
    raise ArgumentError, "Kantoku.Pool, #{name}: expected #{expected}, got: #{inspect(given)}"
  end
end
