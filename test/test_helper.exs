# A message that comes is waited for as long as a busy machine may take; no test hangs on how soon it comes.
# An app that has Jido starts it; older Elixir does not start what a dependency has as an option.
without_jido = if Kantoku.Jido.compiled?(), do: [], else: [:jido]
if without_jido == [], do: {:ok, _} = Application.ensure_all_started(:jido)

without_plug = if Code.ensure_loaded?(Plug.Conn), do: [], else: [:plug]
if without_plug == [], do: {:ok, _} = Application.ensure_all_started(:plug)

without_telemetry = if Code.ensure_loaded?(:telemetry), do: [], else: [:telemetry]

opentelemetry = Path.join(System.get_env("KANTOKU_DEPS_DIR", ""), "opentelemetry_api")
without_opentelemetry = if File.dir?(opentelemetry), do: [], else: [:opentelemetry]

ExUnit.start(
  capture_log: true,
  formatters: [ExUnit.CLIFormatter, Kantoku.TestFailures],
  assert_receive_timeout: 30_000,
  timeout: 300_000,
  exclude:
    [:property, :chaos, :cluster, :soak, :alertmanager, :promtool, :browser, :counterpart, :collectors] ++
      without_jido ++ without_plug ++ without_telemetry ++ without_opentelemetry
)
