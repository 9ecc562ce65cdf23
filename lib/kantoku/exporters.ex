defmodule Kantoku.Exporters do
  @moduledoc """
  Metrics, traces and probes out of the VM: served over HTTP to Prometheus and to who looks whether the VM lives, and sent to StatsD and
  OpenTelemetry.

  Nothing is served or sent unless an instance is started with `http:` or `exporters:`:

      children = [
        {Kantoku, name: MyApp.Agents, http: [port: 9464], exporters: [otlp: [endpoint: "http://collector:4318"]]}
      ]

  All of it is done by two threads of the native library, beside the schedulers, so that it goes on while those are busy. An instance may run
  on either engine; without the library there are no exporters, and `status/0` says so. What those threads cannot read, resources (`Kantoku.Resources`) and the
  metrics of instances on the Elixir engine, is as old as the VM's last beat, a second.

  What is exported is the VM's, with the instance as a label. So there is one listener, as the first instance that gave `http:` wants it, and
  what several instances want alike of `exporters:` is sent once. It ends with the last instance that wants it. What cannot be started,
  because its port is taken perhaps, is told to the log and as `[:kantoku, :exporter, :refused]`, tried again every five seconds, and stops
  nothing else.

  ## HTTP

  | path | |
  |---|---|
  | `/metrics` | Prometheus' text format 0.0.4, or OpenMetrics 1.0 with exemplars, by the `accept` header; packed by gzip for who takes that |
  | `/livez` | 200 while the VM's last beat is younger than `live_within`, else 503 |
  | `/readyz` | 200 while all instances with these options have started and none drains, else 503 |
  | `/startupz` | 200 since they have started, else 503 |

  | `/api/v1/...` | what is known of all instances, as JSON: `Kantoku.Api`. 503 where the VM does not answer within two seconds, or 64 questions wait |
  | `/api/v1/history` | what figures were, for a week: in points 10 s apart for an hour, 60 s for a day, 600 s for a week |
  | `/api/v1/admin/...` | by `POST` and with the admin's token alone: `Kantoku.Api.post/2`. Not there without `:admin_token` or a file of it |
  | `/events` | events as they come (`text/event-stream`), for up to 32 readers |
  | `/`, `/assets/...` | the dashboard |

  The probes need no token and say no more than that; nor does the page, which knows nothing by itself. All others need `authorization: Bearer` and
  the token; it is taken from nowhere else. Only the API asks the VM: all else is answered while every scheduler is busy.

  #{Kantoku.Exporters.Config.docs(:http)}

  ## StatsD

  `exporters: [statsd: options]`, or `dogstatsd:` for Datadog's dialect with tags. Counters are sent as what they rose by, gauges as they stand.
  Plain StatsD has no labels: their values follow the name, with dots between. Histograms are timings in ms there and distributions of Datadog,
  of one value for each of their buckets.

  #{Kantoku.Exporters.Config.docs(:statsd)}

  ## OTLP

  `exporters: [otlp: options]` sends by http/protobuf, in three tries with a growing pause: metrics, cumulative, and the spans of an instance that
  traces (option `:trace`; `Kantoku.Trace`), on either engine. Spans are taken out of its buffer 512 at a time, as soon as so many are there,
  so `Kantoku.Trace.take/2` has none left. When the instance ends, its last spans are sent. `OTEL_SDK_DISABLED` turns all off that is sent; an
  `OTEL_EXPORTER_OTLP_PROTOCOL` other than `http/protobuf`, and a `_COMPRESSION`, are told to the log and not heeded. A
  collector at `https://` has to show a certificate that is trusted, for its name; the native library has to be built for that, with the
  variable `KANTOKU_FEATURES=tls` (1.6 MB more, 8 with its line tables), and otherwise says so.

  #{Kantoku.Exporters.Config.docs(:otlp)}
  """

  alias Kantoku.Error
  alias Kantoku.Exporters.{Keeper, Native}

  @typedoc """
  What an exporter that sends by itself did: rounds in which all was sent (`exports`) or not (`failures`), how many figures or spans it had to send (`points`), and
  how many of those were `dropped`, also where a round was ended in its middle; or why it could not be started. `:otlp_traces` are the spans of one instance.
  """
  @type exporter ::
          %{kind: kind, exports: integer, failures: integer, points: integer, dropped: integer}
          | %{kind: kind, error: Error.t()}

  @type kind :: :statsd | :dogstatsd | :otlp | :otlp_traces

  @typedoc """
  `http` is `:off`, where it listens, whose token it asks for and whether an `admin` may do something there, or why it does not: an error of reason `:unavailable`, whose `cause` is
  `:eaddrinuse`, `:eacces`, `:token`, `:no_library` or the like. `ignored` are the instances that wanted another listener than the first did.
  `connections` are open, `refused` were closed early as there were too many, since exporters run.
  """
  @type status :: %{
          http:
            :off
            | %{
                address: String.t(),
                ip: :inet.ip_address(),
                port: :inet.port_number(),
                token_file: Path.t() | nil,
                admin: boolean
              }
            | {:error, Error.t()},
          ignored: [instance :: atom],
          connections: non_neg_integer,
          refused: non_neg_integer,
          exporters: [exporter]
        }

  @doc """
  What this VM exports.

      iex> Kantoku.Exporters.status().http
      :off
  """
  @spec status() :: status
  def status do
    {http, exporters, failed, ignored} = Keeper.state()
    {connections, refused, running} = running(Native.status())
    counts = for {id, _name, exports, failures, points} <- running, into: %{}, do: {id, {exports, failures, points}}
    sent = for {{kind, _config}, id} <- exporters, do: sent(kind, Map.get(counts, id, {0, 0, {0, 0}}))
    missing = for {{kind, _config}, error} <- failed, do: %{kind: kind, error: error}

    %{
      http: http(http, failed),
      ignored: ignored,
      connections: connections,
      refused: refused,
      exporters: sent ++ missing
    }
  end

  defp running(:none), do: {0, 0, []}
  defp running({_address, connections, refused, exporters}), do: {connections, refused, exporters}

  defp sent(kind, {exports, failures, {points, dropped}}),
    do: %{kind: kind, exports: exports, failures: failures, points: points, dropped: dropped}

  defp http(nil, %{http: error}), do: {:error, error}
  defp http(nil, _failed), do: :off

  defp http({config, address}, _failed) do
    port = address |> String.split(":") |> List.last() |> String.to_integer()
    %{address: address, ip: config.ip, port: port, token_file: token_file(config.token), admin: config.admin != nil}
  end

  defp token_file({:file, path}), do: path
  defp token_file({:token, _secret}), do: nil
end
