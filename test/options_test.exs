defmodule Kantoku.OptionsTest do
  use ExUnit.Case, async: true

  @bad [
    {[name: nil], ~r/option :name: expected an atom, got: nil/},
    {[], ~r/option :name is required/},
    {[name: X, engine: :rust], ~r/option :engine: expected one of \[:native, :elixir\], got: :rust/},
    {[name: X, speed: 3], ~r/unknown option :speed \(given 3\), expected one of \[:name/},
    {[name: X, drain: [timeout: 0]], ~r/option :drain, option :timeout: expected a positive integer, got: 0/},
    {[name: X, domains: [:tools]], ~r/option :domains: expected a keyword list, got: :tools/},
    {[name: X, domains: [[name: :a], [name: :a]]], ~r/each domain once, got twice: :a/},
    {[name: X, domains: [[name: :a, backoff: [base: -1]]]],
     ~r/domain :a, option :backoff, option :base: expected a positive/},
    {[name: X, domains: [[name: :a, storm: [burst: 2]]]], ~r/option :rate is required/},
    {[name: X, domains: [[name: :a, domains: [[name: :a]]]]], ~r/got twice: :a/},
    {[name: X, domains: [[name: :a, strategy: :simple]]], ~r/option :strategy: expected one of .*got: :simple/}
  ]

  for {{opts, message}, index} <- Enum.with_index(@bad) do
    test "a bad option is refused with its name, its value and what was expected (#{index}: #{inspect(opts)})" do
      assert_raise ArgumentError, unquote(Macro.escape(message)), fn -> Kantoku.start_link(unquote(opts)) end
    end
  end

  test "defaults are the documented ones" do
    config = Kantoku.Config.new!(name: X)
    [default] = config.domains
    assert default.name == :default
    assert default.partitions == 64
    assert default.policy.backoff == %{base: 200, cap: 30_000, reset_after: 60_000}
    assert default.policy.budget == %{crashes: 10, within: 60_000}
    assert {default.policy.max_restarts, default.policy.max_seconds, default.policy.shutdown} == {3, 5, 5_000}
    assert config.drain.timeout == 25_000
  end

  test "the documentation names every option" do
    docs = Kantoku.Domain.Definition.docs()

    for option <- ~w(strategy backoff base cap reset_after budget storm limits stop_order unpark),
        do: assert(docs =~ "`:#{option}`")
  end
end
