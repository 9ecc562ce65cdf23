defmodule Kantoku.PromtoolTest do
  # What Prometheus' own tool says of what we serve and ship. It comes with Debian's package `prometheus`.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.{RawHTTP, Shipped}

  @moduletag :promtool

  @tag :tmp_dir
  test "promtool finds nothing wrong with /metrics", %{tmp_dir: folder} do
    instance = start!(http: RawHTTP.options(), exporters: [statsd: [interval: 10]])
    for id <- 1..5, do: worker!(instance, id)
    port = RawHTTP.port()
    for path <- ["/nothing", "/metrics"], do: RawHTTP.get(port, path)
    {200, _headers, page} = RawHTTP.get(port, "/metrics")
    path = Path.join(folder, "page")
    File.write!(path, page)
    {said, _status} = System.cmd("sh", ["-c", "promtool check metrics < #{path}"], stderr_to_stdout: true)
    assert String.split(said, "\n", trim: true) == []
  end

  test "promtool takes the rules" do
    assert {output, 0} = promtool(["check", "rules", Shipped.rules()])
    assert output =~ ~r/SUCCESS: \d+ rules found/
  end

  test "the rules say what they shall of series in trouble, and nothing of others" do
    assert {output, 0} = promtool(["test", "rules", Shipped.rules_test()])
    assert output =~ "SUCCESS"
  end

  # A file of rules is what promtool reads queries from.
  @tag :tmp_dir
  test "Prometheus understands each query of the dashboard", %{tmp_dir: folder} do
    path = Path.join(folder, "queries.yml")
    rules = for {query, n} <- Enum.with_index(Shipped.queries()), do: "- {record: 'query:#{n}', expr: '#{query}'}\n"
    File.write!(path, ["groups:\n- name: queries\n  rules:\n" | Enum.map(rules, &("  " <> &1))])
    assert {output, 0} = promtool(["check", "rules", path])
    assert output =~ "SUCCESS: #{length(rules)} rules found"
  end

  defp promtool(args), do: System.cmd("promtool", args, stderr_to_stdout: true)
end
