defmodule Kantoku.Health.Trial do
  # Whether health takes agents for what they are: starts some of each class, has happen to them what makes them that, and compares what
  # health says with what is so. Of use to `mix kantoku.health.accuracy` and the tests; nothing else needs it.
  @moduledoc false

  alias Kantoku.Health.Trial.{Observer, Parameters, Score, Stage}

  # Looks at those that are well, in a trial.
  @looks 5

  @type options :: [
          agents: pos_integer,
          seed: integer,
          period: pos_integer,
          ranges: Parameters.set(),
          engine: atom | nil,
          progress: (String.t() -> term)
        ]

  @type result :: %{score: Score.t(), leads: [float], errors: [float], gaps: non_neg_integer, agents: pos_integer}

  @doc """
  Runs a trial in the calling process. `leads`: how many periods before its limit each that grows was told of; `errors`: how many periods the
  estimate was off (below 0: it came earlier than was said).
  """
  @spec run(options) :: result
  def run(options) do
    %{agents: count, seed: seed, period: period, ranges: set, progress: progress} = Map.new(options)
    _ = :rand.seed(:exsss, seed)
    stage = set |> Stage.draw(div(count, length(Parameters.classes()))) |> Stage.start(period, options[:engine])
    progress.("#{length(stage.agents)} agents are up")

    try do
      settle(stage, 100)
      progress.("health knows them all")
      observer = observe(Stage.begin(stage), Observer.new(stage.instance), set, progress)
      result(stage, observer)
    after
      Stage.stop(stage)
    end
  end

  defp settle(_stage, 0), do: raise("the agents of the trial are not healthy before it began")

  defp settle(stage, tries) do
    unless Stage.settled?(stage) do
      Process.sleep(div(stage.period, 2))
      settle(stage, tries - 1)
    end
  end

  defp observe(%{director: director} = stage, observer, set, progress) do
    length = Parameters.length(set)
    started = now()
    looks = for nth <- 1..@looks, do: div(length * nth, @looks)

    observer =
      Enum.reduce(1..length, observer, fn period, observer ->
        observer = Observer.watch(observer, started + period * stage.period)

        if rem(period, 5) == 0,
          do: progress.("period #{period} of #{length}: something was found of #{map_size(observer.at)}")

        if period in looks, do: Observer.look(observer, Enum.map(stage.agents, & &1.id)), else: observer
      end)

    Process.exit(director, :kill)
    observer
  end

  # What was so, beside what was seen --------------------------------------------------------------------------------------------

  defp result(stage, observer) do
    restarts = Map.new(observer.restarts)
    found = for agent <- stage.agents, do: found(stage, observer, agent, restarts[agent.id])

    foreseen =
      for agent <- stage.agents, agent.class in [:leaking, :flooded], lead = foreseen(stage, observer, agent), do: lead

    %{
      score: Score.of(found),
      leads: Enum.map(foreseen, &elem(&1, 0)),
      errors: Enum.map(foreseen, &elem(&1, 1)),
      gaps: observer.gaps,
      agents: length(found)
    }
  end

  defp found(stage, observer, agent, restarted) do
    verdict = Observer.verdict(observer, agent.id)
    beyond = Stage.beyond(stage, agent)
    at = observer.at[agent.id]
    delay = if verdict == agent.class and at != nil and beyond != nil, do: (at - beyond) / stage.period
    %{class: agent.class, verdict: verdict, delay: delay, restarted: restarted(restarted, beyond)}
  end

  defp restarted(nil, _beyond), do: :no
  defp restarted(at, beyond) when is_integer(beyond) and at >= beyond, do: :beyond
  defp restarted(_at, _beyond), do: :within

  defp foreseen(stage, %{at: at, claims: claims}, %{id: id} = agent) do
    beyond = Stage.beyond(stage, agent)
    if beyond && at[id] && claims[id], do: {(beyond - at[id]) / stage.period, (beyond - claims[id]) / stage.period}
  end

  defp now, do: System.monotonic_time(:millisecond)
end
