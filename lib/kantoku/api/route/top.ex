defmodule Kantoku.Api.Route.Top do
  # The agents that use most of something, as they were last looked at.
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.{Params, Shown}
  alias Kantoku.Resources

  @kinds Map.new(Kantoku.Resources.Census.kinds(), &{Atom.to_string(&1), &1})

  @impl true
  def answer(instance, params) do
    with {:ok, by} <- Params.one_of(params, "by", :memory, @kinds),
         {:ok, limit} <- Params.integer(params, "limit", 20, 1..100),
         {:ok, entries} <- entries(instance, by, limit) do
      {:ok, %{by: by, agents: Enum.map(entries, &agent(&1, by)), sampled_at: sampled_at(entries)}}
    end
  end

  # Where agents are not looked at, none is known.
  defp entries(instance, by, limit) do
    with {:error, %{reason: :not_found}} <- Resources.top(instance, by, limit), do: {:ok, []}
  end

  defp agent(entry, by) do
    %{
      key: Shown.key(entry.id),
      id: Shown.text(entry.id),
      domain: Shown.text(entry.domain),
      value: Map.fetch!(entry, by)
    }
  end

  # The oldest of them.
  defp sampled_at([]), do: nil
  defp sampled_at(entries), do: Shown.now() - (entries |> Enum.map(& &1.age) |> Enum.max()) / 1_000
end
