defmodule Mix.Tasks.Kantoku.Health.Accuracy do
  @shortdoc "Shows how often health takes agents for what they are"

  @moduledoc """
  Starts 10,000 agents of ten kinds, has happen to them what makes them that, and compares what `Kantoku.Health` says with what is so.

      mix kantoku.health.accuracy [--agents N] [--seed S] [--json]

  Which agent is of which class is known to this task alone. Health is told what anybody would tell it: how long a message may take, limits of
  memory and mailbox, and a probe that a fifth of the agents is asked. What each agent does is drawn at random by the seed, which is new in each
  run and printed, from ranges that have nothing in common with those that health was tuned on (`--ranges tuning`). Only when growth begins is the
  same in both, within the first four periods, so that it ends before the trial does.

  ## Classes

  | class | what it does | what health should say |
  |---|---|---|
  | `idle` | nothing | `:healthy`, `busy: nil` |
  | `busy` | one message after the other, each within `max_busy`; some hold much memory for a while, some get messages in bursts | `:healthy`, `busy: %{over: below 0}` |
  | `waiting` | waits within `Kantoku.waiting/2`, longer than `max_busy` | `:healthy`, `busy: %{waits_for: :outside}` |
  | `looping` | is in a loop that does not end | stuck and restarted, `doing: :runs` |
  | `standing` | waits in a `receive` for what never comes | stuck and restarted, `doing: :stands` |
  | `deadlocked` | two that call each other; without a limit that would pass | stuck and restarted, `waits_for:` the other |
  | `killed` | is killed by somebody else | `[:agent, :crashed]` without a restart by health |
  | `leaking` | keeps a part of what it gets | `:at_risk` by `:memory`; not restarted |
  | `flooded` | gets more messages than it can do | `:at_risk` by `:mailbox`; not restarted |
  | `slow_probe` | works, but answers its readiness probe too late | `:unhealthy`, the probe fails with `:timeout`; not restarted |

  Of who is found stuck, crashed or at risk that counts; of all others what most of five looks at `Kantoku.Health.status/2` say.

  ## Marks

  Recall and precision of every class are at least 99 %, and 99.9 % of all agents are taken for what they are. No agent within its limits is
  restarted. Who passes a limit is found within two periods after that; who is at risk, before, or as soon. If one is missed it is said which,
  and the task exits with 1. The last line is `accuracy N`, in percent.

  ## What is simulated

  Periods last a second in place of ten, and limits are small, so that 10,000 agents are judged in a minute. Work, and most loops, are bursts of
  some 20 microseconds of reductions with pauses of 60 to 250 ms between them, as a thousand agents that compute all the time would leave none
  for the rest: to look at from outside, one at work and one in a loop do the same. One in a hundred loops never pauses, at low priority. Each
  agent has one fault at most. On a machine that is busy with other things agents that are to stay within their limits may not: these are
  counted apart, and such a run says little. Degradation (`Kantoku.Degradation`) is off: it would have probes asked more seldom while processes
  wait for the schedulers, which is right, and late.

  ## Options

    * `--agents N` - how many, 10,000 by default; a multiple of 20;
    * `--seed S` - of an earlier run, for the same agents;
    * `--json` - one object in place of the tables, for machines; progress goes to standard error;
    * `--period MS` - of health, 1,000 by default;
    * `--ranges held_out | tuning` - where parameters are drawn from;
    * `--engine native | elixir` - the default is that of an instance.
  """

  use Mix.Task

  alias Kantoku.Health.Trial
  alias Kantoku.Health.Trial.{Parameters, Report, Score}

  @switches [
    agents: :integer,
    seed: :integer,
    json: :boolean,
    period: :integer,
    ranges: :string,
    engine: :string
  ]
  @least_period 100

  @impl true
  def run(arguments) do
    options = parse!(arguments)
    Mix.Task.run("app.start")
    # A third of the agents is to be killed.
    level = Logger.level()
    Logger.configure(level: :critical)
    say(options, "seed #{options.seed}, #{options.agents} agents, #{time(options)} s")
    result = Trial.run([progress: &say(options, &1)] ++ Map.to_list(options))
    Logger.configure(level: level)
    Mix.shell().info(if(options.json, do: json(options, result), else: Report.text(result)))
    Mix.shell().info("accuracy #{Score.text(Score.accuracy(result.score))}")
    if Score.missed(result.score) != [], do: exit({:shutdown, 1})
  end

  defp time(%{ranges: ranges, period: period}), do: div(Parameters.length(ranges) * period, 1_000)

  defp say(%{json: true}, text), do: IO.puts(:stderr, text)
  defp say(_options, text), do: Mix.shell().info(text)

  # Options ----------------------------------------------------------------------------------------------------------------

  defp parse!(arguments) do
    case OptionParser.parse(arguments, strict: @switches) do
      {options, [], []} ->
        options |> Map.new() |> Map.merge(defaults(), fn _name, given, _default -> given end) |> checked!()

      {_, _, [{option, value} | _]} ->
        Mix.raise("#{option}: unknown, or its value does not fit: #{inspect(value)}")

      {_, words, []} ->
        Mix.raise("expected options only, got: #{inspect(words)}. See mix help kantoku.health.accuracy")
    end
  end

  defp defaults do
    seed = :erlang.phash2({System.os_time(), make_ref()}, 1_000_000_000)
    %{agents: 10_000, seed: seed, json: false, period: 1_000, ranges: "held_out", engine: nil}
  end

  defp checked!(%{agents: agents, period: period} = options) do
    (agents > 0 and rem(agents, 20) == 0) || Mix.raise("--agents: expected a multiple of 20, got: #{agents}")
    period >= @least_period || Mix.raise("--period: expected #{@least_period} or more, got: #{period}")

    %{
      options
      | ranges: one_of!(options, :ranges, [:held_out, :tuning]),
        engine: one_of!(options, :engine, [nil, :native, :elixir])
    }
  end

  defp one_of!(options, name, allowed) do
    Enum.find(allowed, :none, &(options[name] == (&1 && "#{&1}"))) |> known!(name, options[name], allowed)
  end

  defp known!(:none, name, given, allowed),
    do: Mix.raise("--#{name}: expected #{allowed |> Enum.filter(& &1) |> Enum.join(" or ")}, got: #{given}")

  defp known!(value, _name, _given, _allowed), do: value

  # For machines -------------------------------------------------------------------------------------------------------------

  # Numbers and names of our own only, so nothing has to be escaped.
  defp json(%{seed: seed, period: period}, %{score: score} = result) do
    {precision, recall} = Score.foresight(score)

    object(
      seed: seed,
      agents: result.agents,
      period: period,
      accuracy: Score.text(Score.accuracy(score)),
      classes: object(for(class <- Parameters.classes(), do: {class, of_class(score, class)})),
      at_risk: object(precision: Score.text(precision), recall: Score.text(recall)),
      restarted_within_limits: score.restarted,
      overdue: score.overdue,
      gaps: result.gaps,
      missed: length(Score.missed(score))
    )
  end

  defp of_class(%{matrix: matrix, delays: delays} = score, class) do
    found = for {{^class, verdict}, count} <- matrix, do: {verdict, count}

    late =
      for part <- [50, 99, 100], times = delays[class], do: {:"p#{part}", Score.text(Score.percentile(times, part))}

    object(
      recall: Score.text(Score.recall(score, class)),
      precision: Score.text(Score.precision(score, class)),
      found: object(found),
      periods: object(late)
    )
  end

  defp object(fields), do: "{" <> Enum.map_join(fields, ",", fn {name, value} -> ~s("#{name}":#{value}) end) <> "}"
end
