defmodule Kantoku.PromtoolTest do
  # What Prometheus' own tool says of what we serve. It comes with Debian's package `prometheus`.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.RawHTTP

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
    assert System.cmd("sh", ["-c", "promtool check metrics < #{path}"], stderr_to_stdout: true) == {"", 0}
  end
end
