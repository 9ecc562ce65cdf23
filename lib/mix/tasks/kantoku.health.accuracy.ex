defmodule Mix.Tasks.Kantoku.Health.Accuracy do
  use Mix.Task
  alias Kantoku.Health.Trial
  def run(args) do
    {o, [], []} = OptionParser.parse(args, strict: [agents: :integer, seed: :integer, period: :integer, tuning: :boolean, engine: :string])
    Mix.Task.run("app.start")
    Logger.configure(level: :critical)
    seed = o[:seed] || :erlang.phash2({System.os_time(), self()})
    IO.puts("seed #{seed}")
    r = Trial.run(agents: o[:agents] || 10_000, seed: seed, period: o[:period] || 1000, ranges: if(o[:tuning], do: :tuning, else: :held_out), engine: o[:engine] && String.to_atom(o[:engine]), progress: &IO.puts/1)
    IO.inspect(r.score.matrix, limit: :infinity)
    for {c, d} <- r.score.delays, do: IO.puts("#{c}: #{length d} p50 #{Trial.Score.percentile(d,50)} p99 #{Trial.Score.percentile(d,99)} max #{Enum.max(d)}")
    IO.inspect(Map.drop(Map.from_struct(r.score), [:matrix, :delays]))
    IO.inspect({r.gaps, Trial.Score.foresight(r.score), Trial.Score.missed(r.score)})
    for {n, l} <- [leads: r.leads, errors: r.errors], l != [], do: IO.inspect({n, Trial.Score.percentile(l, 1), Trial.Score.percentile(l, 50), Trial.Score.percentile(l, 99)})
    IO.inspect(r.odd, limit: :infinity)
    IO.puts("accuracy #{Trial.Score.accuracy(r.score)}")
  end
end
