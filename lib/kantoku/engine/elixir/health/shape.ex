defmodule Kantoku.Engine.Elixir.Health.Shape do
  # Arguments as the native engine takes them; raises `ArgumentError` on others, as that does. Knows no rule of health.
  @moduledoc false

  @most 0xFFFFFFFF
  @handles 0x10000000000000

  defguardp is_handle(term) when is_integer(term) and term >= 0 and term < @handles
  defguardp is_count(term) when is_integer(term) and term >= 0 and term <= @most

  @spec handle!(term) :: non_neg_integer
  def handle!(handle) when is_handle(handle), do: handle
  def handle!(_other), do: raise(ArgumentError)

  @spec parent!(term) :: non_neg_integer | nil
  def parent!(nil), do: nil
  def parent!(handle), do: handle!(handle)

  @spec process!(term) :: pid | nil
  def process!(nil), do: nil
  def process!(pid) when is_pid(pid) and node(pid) == node(), do: pid
  def process!(_other), do: raise(ArgumentError)

  @spec count!(term) :: non_neg_integer
  def count!(count) when is_count(count), do: count
  def count!(_other), do: raise(ArgumentError)

  @spec positive!(term) :: pos_integer
  def positive!(count) when is_count(count) and count > 0, do: count
  def positive!(_other), do: raise(ArgumentError)

  @spec spec!(term) :: Kantoku.Engine.Health.spec()
  def spec!({:group, :worst} = spec), do: spec
  def spec!({:group, percent} = spec) when is_integer(percent) and percent in 0..100, do: spec

  def spec!({:agent, probes} = spec) when is_list(probes) do
    Enum.each(probes, &probe!/1)
    spec
  end

  def spec!(_other), do: raise(ArgumentError)

  defp probe!({id, kind, success, failure})
       when is_count(id) and kind in [:startup, :liveness, :readiness, :custom] and is_count(success) and success > 0 and
              is_count(failure) and failure > 0,
       do: :ok

  defp probe!(_other), do: raise(ArgumentError)

  @spec outcome!(term) :: Kantoku.Engine.Health.outcome()
  def outcome!(outcome) when outcome in [:success, :failure, :unknown], do: outcome
  def outcome!(_other), do: raise(ArgumentError)

  @spec ms!(term) :: integer
  def ms!(ms) when is_integer(ms) and ms >= -0x8000000000000000 and ms <= 0x7FFFFFFFFFFFFFFF, do: ms
  def ms!(_other), do: raise(ArgumentError)
end
