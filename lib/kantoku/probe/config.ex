defmodule Kantoku.Probe.Config do
  # The options of probes, checked once. Asks nobody.
  @moduledoc false

  alias Kantoku.{Options, Probe}

  @kinds [:liveness, :readiness, :startup, :custom]
  @scope "`:all`, `{:agent, id}`, `{:type, module}`, `{:domain, name}` or `{:pool, name}`"
  @check "a function of a pid, `{module, function, args}`, a module with `check/1`, or `{:message, term}`"
  @sample "`:all`, `{:sample, count}` or `:adaptive`"

  @schema [
    name: [kind: :any, required: true, doc: "any term, unique in the instance."],
    kind: [kind: {:one_of, @kinds}, required: true, doc: "`:liveness`, `:readiness`, `:startup` or `:custom`."],
    check: [kind: {:like, @check, &__MODULE__.check?/1}, required: true, doc: "#{@check}; see below."],
    for: [kind: {:like, @scope, &__MODULE__.scope?/1}, default: :all, doc: "of whom it is asked: #{@scope}."],
    initial_delay: [kind: :non_negative, default: 0, doc: "ms from when the agent was seen to the first question."],
    period: [kind: :positive, default: 10_000, doc: "ms between two questions."],
    timeout: [kind: :positive, default: 1_000, doc: "ms after which no answer is a failure."],
    success_threshold: [
      kind: :positive,
      default: 1,
      doc: "so many successes in a row, to pass after a failure; 1 for liveness and startup."
    ],
    failure_threshold: [kind: :positive, default: 3, doc: "so many failures in a row, to fail."],
    sample: [
      kind: {:like, @sample, &__MODULE__.sample?/1},
      default: :all,
      doc:
        "whom of them it is asked each period: `:all`; `{:sample, count}`, so many of them, in turn; `:adaptive`, an agent that " <>
          "passes four times more seldom, and one that failed last at each period."
    ]
  ]

  @doc "Checks the probes of an instance; raises `ArgumentError` on a bad one."
  @spec all!([keyword]) :: [Probe.t()]
  def all!(probes) do
    probes = Enum.map(probes, &new!/1)
    ids = Enum.map(probes, & &1.id)

    for probe <- probes, Enum.count(ids, &(&1 == probe.id)) > 1 do
      refuse!(probe.name, "name", "each name once", probe.name)
    end

    probes
  end

  @spec new!(keyword) :: Probe.t()
  def new!(options) do
    where = "Kantoku, probe #{inspect(options[:name])}"
    checked = Options.validate!(options, @schema, where)

    if checked.kind in [:liveness, :startup] and checked.success_threshold != 1,
      do: refuse!(checked.name, "success_threshold", "1 for #{inspect(checked.kind)}", checked.success_threshold)

    # 0 is the passive look's.
    struct!(Probe, Map.put(checked, :id, :erlang.phash2({:probe, checked.name}, 0xFFFFFFFE) + 1))
  end

  defp refuse!(name, option, expected, given) do
    raise ArgumentError,
          "Kantoku, probe #{inspect(name)}, option :#{option}: expected #{expected}, got: #{inspect(given)}"
  end

  @doc false
  def scope?({:type, module}), do: is_atom(module)
  def scope?({:agent, _id}), do: true
  def scope?({:domain, name}), do: is_atom(name)
  def scope?({:pool, name}), do: is_atom(name)
  def scope?(other), do: other == :all

  @doc false
  def check?({:message, _term}), do: true
  def check?({module, function, args}), do: is_atom(module) and is_atom(function) and is_list(args)
  def check?(module) when is_atom(module), do: module not in [nil, true, false]
  def check?(other), do: is_function(other, 1)

  @doc false
  def sample?({:sample, count}), do: is_integer(count) and count > 0
  def sample?(other), do: other in [:all, :adaptive]

  @doc "The options as Markdown."
  @spec docs() :: String.t()
  def docs, do: Options.docs(@schema)
end
