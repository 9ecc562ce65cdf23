defmodule Bench.Pool.Cells do
  @moduledoc false
  # Closed loops at every size of pool and crowd. Those in which far more callers than workers ask are the saturated ones, which the
  # claims are made for; the others are told as they are, beside poolboy alone.

  alias Bench.{Comparison, Options, Side}
  alias Bench.Pool.{ClosedLoop, Rig}

  @saturated [{16, 64}, {16, 1_000}, {2, 64}, {256, 1_000}]
  @others for size <- [2, 16, 256], callers <- [1, 2, 64, 1_000], {size, callers} not in @saturated, do: {size, callers}

  @spec sizes() :: [pos_integer]
  def sizes, do: [2, 16, 256]

  @doc "The comparisons on a pool of a size."
  @spec items(pos_integer, [Rig.peer()], Options.t()) :: [Comparison.t()]
  def items(size, peers, options) do
    for {^size, callers} <- @saturated, work <- [:call, :run], peer <- peers do
      cell({"", peer, work}, size, callers, options, ~w(throughput p99 p999 spread))
    end ++
      for({^size, callers} <- @saturated, do: pulling(size, callers, options)) ++
      for {^size, callers} <- @saturated ++ @others, work <- works(size, callers) do
        cell({"cell.", :poolboy, work}, size, callers, options, ~w(throughput p99))
      end
  end

  # What the saturated cells do not say.
  defp works(size, callers) do
    for work <- [:none, :call, :rest], not ({size, callers} in @saturated and work == :call), do: work
  end

  defp cell({prefix, peer, work}, size, callers, options, metrics) do
    millis = Options.size(options, 1_000, 300)

    %Comparison{
      name: "pool",
      variant: "#{size}x#{callers}",
      unit: "",
      better: :higher,
      metrics: Map.new(metrics, &{&1, claim(&1, "#{prefix}#{&1}.#{peer}.#{work}")}),
      doubted: true,
      ours: side(:ours, work, callers, millis, metrics),
      theirs: side(peer, work, callers, millis, metrics)
    }
  end

  # Workers that answer by `Kantoku.Pool.reply/3`, beside those that return their replies.
  defp pulling(size, callers, options) do
    {metrics, millis} = {~w(throughput p99), Options.size(options, 1_000, 300)}

    %Comparison{
      name: "pool",
      variant: "#{size}x#{callers}",
      unit: "",
      better: :higher,
      metrics: Map.new(metrics, &{&1, claim(&1, "#{&1}.pulling.call")}),
      ours: side(:pulling, :call, callers, millis, metrics),
      theirs: side(:ours, :call, callers, millis, metrics)
    }
  end

  defp claim("throughput", name), do: {name, "1/s", :higher}
  defp claim("spread", name), do: {name, "max/min", :lower}
  defp claim(_latency, name), do: {name, "µs", :lower}

  defp side(side, work, callers, millis, metrics) do
    round = fn rig -> callers |> ClosedLoop.run(millis, fn -> Rig.work(rig, side, work) end) |> only(metrics) end
    %Side{does: "#{Rig.does(side, work)}, #{callers} callers for #{millis} ms", round: round}
  end

  defp only(figures, metrics), do: for({metric, _} = figure <- figures, metric in metrics, do: figure)
end
