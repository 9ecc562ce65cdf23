defmodule Kantoku.Why.OfCall do
  # Why a call was refused: what its error says, and what is so now of what it was made to. Decides nothing.
  @moduledoc false

  alias Kantoku.{Error, Why}

  @spec why(atom, Error.t()) :: {:ok, [Why.t()]} | {:error, Error.t()}
  def why(instance, %Error{} = error) do
    with {:ok, now} <- now(instance, error.details), do: {:ok, [itself(error) | now]}
  end

  # What it was made to may be gone by now, which is no reason to say nothing.
  defp now(instance, %{pool: {_instance, name}}), do: known(Why.OfPool.why(instance, name))
  defp now(_instance, %{breaker: {instance, name}}), do: {:ok, Why.breaker(instance, name)}
  defp now(instance, %{id: id}), do: known(Why.OfAgent.why(instance, id))
  defp now(_instance, _details), do: {:ok, []}

  defp known({:error, %{reason: :not_found}}), do: {:ok, []}
  defp known(answer), do: answer

  defp itself(%{reason: reason, details: details} = error),
    do: %Why{reason: reason, evidence: details, lift: lift(reason, details), text: Exception.message(error)}

  defp lift(:breaker_open, %{breaker: breaker}), do: {Kantoku.Breaker, :reset, [breaker]}
  defp lift(:breaker_open, %{pool: {instance, name}}), do: {Kantoku.Breaker, :reset, [{instance, {:pool, name}}]}
  defp lift(:quota, %{pool: pool}), do: {Kantoku.Pool, :update, [pool, [quotas: []]]}
  defp lift(_waits_or_is_up_to_the_caller, _details), do: nil
end
