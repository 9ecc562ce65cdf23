defmodule Bench.Stage do
  @moduledoc false
  # A setting that is expensive to build, and what is played on it. It is built once, in a process of its own that
  # ends with it, so nothing of one stage is left for the next.

  alias Bench.{Again, Check, Comparison, Measurement, Options, Rounds, Unchanged}

  @enforce_keys [:items]
  defstruct [:items, build: &__MODULE__.nothing/0, clear: &Function.identity/1]

  @type item :: Comparison.t() | Measurement.t() | Check.t() | Unchanged.t()
  @type t :: %__MODULE__{items: [item, ...], build: (() -> term), clear: (term -> term)}
  @type outcome ::
          {:result, Bench.Result.t()}
          | {:again, Again.t()}
          | {:measured, Measurement.t(), [{String.t(), [number, ...]}]}
          | {:checked, Check.t(), [{String.t(), non_neg_integer}]}
          | {:decided, Unchanged.t(), Unchanged.verdict()}
          | {:failed, name :: String.t(), reason :: String.t()}

  @spec nothing() :: nil
  def nothing, do: nil

  @doc "The name that `--only` is matched against and reports speak of."
  @spec name(item) :: String.t()
  def name(%Unchanged{comparison: comparison}), do: name(comparison)
  def name(%Comparison{name: name, variant: nil}), do: name
  def name(%Comparison{name: name, variant: variant}), do: "#{name}.#{variant}"
  def name(%{name: name}), do: name

  @doc "Only those items that were asked for, or nil where none is left. A control run only compares."
  @spec select(t, Options.t()) :: t | nil
  def select(stage, options) do
    case Enum.filter(stage.items, &selected?(&1, options)) do
      [] -> nil
      items -> %{stage | items: items}
    end
  end

  @doc "Builds the stage, runs its items in order, clears it. `tell` hears of each outcome as it is there."
  @spec run(t, Options.t(), (outcome -> term)) :: [outcome]
  def run(stage, options, tell) do
    parent = self()
    {pid, monitor} = spawn_monitor(fn -> perform(stage, options, parent) end)
    collect(pid, monitor, tell, [])
  end

  defp selected?(item, %Options{control: control, only: only}) do
    (not control or is_struct(item, Comparison)) and (only == nil or name(item) =~ only)
  end

  defp collect(pid, monitor, tell, outcomes) do
    receive do
      {^pid, outcome} ->
        tell.(outcome)
        collect(pid, monitor, tell, [outcome | outcomes])

      {:DOWN, ^monitor, _, _, {:shutdown, :cleared}} ->
        Enum.reverse(outcomes)

      {:DOWN, ^monitor, _, _, reason} ->
        failure = {:failed, "stage", Exception.format_exit(reason)}
        tell.(failure)
        Enum.reverse([failure | outcomes])
    end
  end

  defp perform(stage, options, parent) do
    state = stage.build.()
    Enum.each(stage.items, fn item -> Enum.each(attempt(item, state, options), &send(parent, {self(), &1})) end)
    stage.clear.(state)
    exit({:shutdown, :cleared})
  end

  defp attempt(item, state, options) do
    play(item, state, options)
  rescue
    error -> [{:failed, name(item), Exception.format(:error, error, __STACKTRACE__)}]
  catch
    :exit, reason -> [{:failed, name(item), Exception.format_exit(reason)}]
  end

  defp play(%Comparison{} = comparison, state, options) do
    rounds = Options.rounds_to_run(options)
    comparison = if options.control, do: Comparison.control(comparison), else: comparison
    results = Rounds.run(comparison, state, rounds)
    doubts = if options.control, do: [], else: Again.look(comparison, results, state, rounds)
    for(result <- results, do: {:result, result}) ++ for(doubt <- doubts, do: {:again, doubt})
  end

  defp play(%Measurement{} = measurement, state, options) do
    rounds = measurement.rounds || Options.rounds_to_run(options)
    figures = Enum.flat_map(1..rounds, fn _ -> measurement.run.(state) end)
    labels = figures |> Enum.map(&elem(&1, 0)) |> Enum.uniq()
    [{:measured, measurement, for(label <- labels, do: {label, for({^label, value} <- figures, do: value)})}]
  end

  defp play(%Check{} = check, state, _options), do: [{:checked, check, check.run.(state)}]
  defp play(%Unchanged{} = decision, state, _options), do: [{:decided, decision, Unchanged.decide(decision, state)}]
end
