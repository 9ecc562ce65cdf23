defmodule Bench.Breakers.Loops do
  @moduledoc false
  # The tight loops that are timed, each with its call written out.
  @compile {:no_warn_undefined, :fuse}

  alias Kantoku.Breaker

  @type side :: :ours | :fuse | :persistent_term

  @doc "`count` questions whether a call may be made; `name` is the breaker's, as that side has it."
  @spec ask(side, name :: term, pos_integer) :: :ok
  def ask(:ours, breaker, count), do: ours(breaker, count)
  def ask(:fuse, name, count), do: fuse(name, count)
  def ask(:persistent_term, name, count), do: persistent_term(name, count)

  @doc "`count` calls through it that do nothing."
  @spec run(:ours | :fuse, name :: term, pos_integer) :: :ok
  def run(:ours, breaker, count), do: run_ours(breaker, count)
  def run(:fuse, name, count), do: run_fuse(name, count)

  @doc "Makes the breaker whose configuration is a persistent term and whose state is an atomic."
  @spec put_persistent_term(term) :: :ok
  def put_persistent_term(name) do
    config = %{state: :atomics.new(2, []), failure_rate_threshold: 50, wait_duration_in_open_state: 60_000}
    :persistent_term.put({__MODULE__, name}, config)
  end

  defp ours(_breaker, 0), do: :ok

  defp ours(breaker, count) do
    true = Breaker.allow?(breaker)
    ours(breaker, count - 1)
  end

  defp fuse(_name, 0), do: :ok

  defp fuse(name, count) do
    :ok = :fuse.ask(name, :async_dirty)
    fuse(name, count - 1)
  end

  defp persistent_term(_name, 0), do: :ok

  defp persistent_term(name, count) do
    true = allow?(name)
    persistent_term(name, count - 1)
  end

  # 0 is closed; the second cell is when it may be tried again.
  defp allow?(name) do
    %{state: state} = :persistent_term.get({__MODULE__, name})

    case :atomics.get(state, 1) do
      0 -> true
      _open -> :atomics.get(state, 2) <= :erlang.monotonic_time(:millisecond)
    end
  end

  defp run_ours(_breaker, 0), do: :ok

  defp run_ours(breaker, count) do
    {:ok, 7} = Breaker.run(breaker, fn -> 7 end)
    run_ours(breaker, count - 1)
  end

  defp run_fuse(_name, 0), do: :ok

  defp run_fuse(name, count) do
    {:ok, 7} = :fuse.run(name, fn -> {:ok, 7} end, :async_dirty)
    run_fuse(name, count - 1)
  end
end
