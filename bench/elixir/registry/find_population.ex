defmodule Bench.Names.FindPopulation do
  @moduledoc false
  # Described agents, each a process with a name and three tags: one that all have, one that each hundredth has, one
  # that each ten-thousandth has. The same agents stand in our registry and in both peers' indexes.

  alias Bench.{Crowd, Ours}
  alias Bench.Names.{OrderedIndex, SampledIndex}

  @densities [:dense, :percent, :sparse]
  @loads 1_000
  @updates_per_agent 3

  @type density :: :dense | :percent | :sparse
  @type t :: %{
          ours: atom,
          ordered: OrderedIndex.t(),
          sampled: SampledIndex.t(),
          size: pos_integer,
          agents: Crowd.t(),
          supervisors: [pid],
          literal: term
        }

  @spec densities() :: [density]
  def densities, do: @densities

  @doc "The share of agents that have such a tag, for people."
  @spec label(density) :: String.t()
  def label(:dense), do: "dense"
  def label(:percent), do: "1pct"
  def label(:sparse), do: "0.01pct"

  @spec build(pos_integer, Bench.Options.t()) :: t
  def build(size, options) do
    {ours, supervisor} = Ours.open_registry(:"bench_find_#{System.unique_integer([:positive])}", 1, options)
    {agents, answers} = Crowd.start(Enum.to_list(1..size), &describe(&1, ours))
    described = for {number, pid, _handle} <- answers, do: {number, pid, tags(number)}

    stage = %{
      ours: ours,
      ordered: OrderedIndex.build(described),
      sampled: SampledIndex.build(described),
      size: size,
      agents: agents,
      supervisors: List.wrap(supervisor),
      literal: {__MODULE__, make_ref()}
    }

    :persistent_term.put(stage.literal, literal(answers, size))
    stage
  end

  @doc """
  The load changes of caller `index` of `count`: `{number, handle, load}` in random order, #{@updates_per_agent} for each of its
  agents. No two callers change the same agent, as the peer's index would not survive that.
  """
  @spec updates(t, non_neg_integer, pos_integer) :: [{pos_integer, handle :: term, non_neg_integer}, ...]
  def updates(stage, index, count) do
    {updates, _} = :persistent_term.get(stage.literal)
    for {number, _, _} = update <- updates, rem(number, count) == index, do: update
  end

  @doc "Tags of a density to ask for, in random order."
  @spec questions(t, density) :: [atom, ...]
  def questions(stage, density) do
    {_, questions} = :persistent_term.get(stage.literal)
    Map.fetch!(questions, density)
  end

  @spec clear(t) :: :ok
  def clear(stage) do
    Crowd.stop(stage.agents)
    Enum.each(stage.supervisors, &Supervisor.stop/1)
    :persistent_term.erase(stage.literal)
    :ok
  end

  defp describe(number, ours) do
    {number, self(), if(ours, do: Ours.describe(ours, {:agent, number}, tags(number)))}
  end

  defp literal(answers, size) do
    updates = for {number, _, handle} <- answers, _ <- 1..@updates_per_agent, do: {number, handle, random_load()}
    {Enum.shuffle(updates), Map.new(@densities, &{&1, tags_to_ask(&1, size)})}
  end

  defp random_load, do: :rand.uniform(@loads) - 1

  defp tags_to_ask(density, size) do
    Enum.map(1..10_000, fn _ -> tag(density, :rand.uniform(size)) end)
  end

  defp tags(number), do: Enum.map(@densities, &tag(&1, number))

  defp tag(:dense, _number), do: :worker
  defp tag(:percent, number), do: :"skill_#{rem(number, 100)}"
  defp tag(:sparse, number), do: :"tenant_#{rem(number, 10_000)}"
end
