defmodule Kantoku.Exporters.Config do
  # The options `:http` and `:exporters` of an instance, checked once, so that the library takes all of them. Knows no process.
  @moduledoc false

  alias Kantoku.Exporters.{Environment, Secret, Words}
  alias Kantoku.Options

  @ms {:like, "ms, 1 to #{Words.most_ms()}", &Words.ms?/1}
  @ms_or_nil {:like, "ms, 1 to #{Words.most_ms()}, or nil", &__MODULE__.ms_or_nil?/1}
  @count {:like, "an integer, 1 to #{Words.most_count()}", &Words.count?/1}

  @http [
    port: [
      kind: {:like, "a port, 0 to 65535", &__MODULE__.port?/1},
      default: 9464,
      doc:
        "0 takes a free one, which `Kantoku.Exporters.status/0` tells. The default is that of OpenTelemetry's Prometheus exporter."
    ],
    ip: [
      kind: {:like, "an IP address, as a tuple or a string", &__MODULE__.ip?/1},
      default: {127, 0, 0, 1},
      doc: "where to listen: the loopback, unless told otherwise."
    ],
    token: [
      kind: :any,
      default: nil,
      doc:
        "what requests bring as `authorization: Bearer`: 16 to 512 visible ASCII characters, or a function that returns them " <>
          "within two seconds; it is asked when the listener begins."
    ],
    token_file: [
      kind: {:like, "a path or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "a file with the token, which only its owner may read (mode 0600); made, with a new token in it, if it is not there. Without this " <>
          "and `:token`: `kantoku/token` in the folder that the system has for a user's configuration."
    ],
    admin_token: [
      kind: :any,
      default: nil,
      doc:
        "as `:token`, and another one: what requests bring that do something (`Kantoku.Api`). Without it, or a file of it, nobody can do anything " <>
          "but read."
    ],
    admin_token_file: [
      kind: {:like, "a path or nil", &__MODULE__.path?/1},
      default: nil,
      doc: "as `:token_file`, with that token."
    ],
    hosts: [
      kind: {:like, "a list of host names", &__MODULE__.hosts?/1},
      default: [],
      doc:
        "names under which requests come besides `localhost`, the address itself and the host of `:advertise`; others are refused with 421 (DNS " <>
          "rebinding). The name of a service before it, or a translated address, has to be here."
    ],
    advertise: [
      kind: {:like, "host:port as a string, or nil", &__MODULE__.address?/1},
      default: nil,
      doc:
        "where others reach it, as `Kantoku.Discovery` tells; else the address that it listens at. Requests may come under its host."
    ],
    discovery: [
      kind: {:list, :atom},
      default: [],
      doc: "modules that are told where it is (`Kantoku.Discovery`)."
    ],
    max_connections: [
      kind: @count,
      default: 64,
      doc:
        "one more is given the place of the oldest that has shown no token, so that probes are answered whoever else is there. An eighth of them, " <>
          "one at least, is kept for nobody."
    ],
    max_header_bytes: [kind: @count, default: 16_384, doc: "bytes of a request's head; 8192 at least."],
    header_timeout: [kind: @ms, default: 5_000, doc: "ms in which a request's head is here."],
    request_timeout: [kind: @ms, default: 10_000, doc: "ms for an answer."],
    connection_lifetime: [
      kind: @ms,
      default: 60_000,
      doc: "ms after which a connection is closed, when its request has been answered or `request_timeout` later."
    ],
    live_within: [
      kind: @ms,
      default: 30_000,
      doc: "ms without a beat of this VM, which beats each second, after which `/livez` answers 503."
    ]
  ]

  @statsd [
    host: [kind: {:like, "a host name", &Words.host?/1}, default: "127.0.0.1", doc: "name or address."],
    port: [kind: {:like, "a port, 0 to 65535", &__MODULE__.port?/1}, default: 8125, doc: "StatsD's own by default."],
    prefix: [
      kind: {:like, "a string", &Words.text?/1},
      default: "",
      doc: "put before each name, with its dot if it has one."
    ],
    interval: [kind: @ms, default: 10_000, doc: "ms between two rounds; StatsD's own by default."]
  ]

  @otlp [
    endpoint: [
      kind: {:like, "an http:// or https:// URL or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "`http://host:port`, to which `/v1/metrics` and `/v1/traces` are added, or with a path, of metrics alone. Else " <>
          "`OTEL_EXPORTER_OTLP_METRICS_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `http://localhost:4318`."
    ],
    traces_endpoint: [
      kind: {:like, "an http:// or https:// URL or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "where spans are sent, if not to `:endpoint`. Else `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and as there; nowhere if that has a path of its own."
    ],
    signals: [
      kind: {:like, "a list of :metrics and :traces, or nil", &__MODULE__.signals?/1},
      default: nil,
      doc:
        "what is sent; else `[:metrics, :traces]` without those of which `OTEL_METRICS_EXPORTER` or `OTEL_TRACES_EXPORTER` says `none`."
    ],
    headers: [
      kind: :any,
      default: nil,
      doc:
        "pairs of strings, or a function that returns them within two seconds, said with each request besides those of `OTEL_EXPORTER_OTLP_HEADERS`, " <>
          "`OTEL_EXPORTER_OTLP_METRICS_HEADERS` and `OTEL_EXPORTER_OTLP_TRACES_HEADERS`; never shown."
    ],
    resource: [
      kind: {:like, "pairs of strings", &Words.texts?/1},
      default: [],
      doc:
        "what figures and spans are of, besides `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME` and what is known of this VM."
    ],
    interval: [
      kind: @ms_or_nil,
      default: nil,
      doc: "ms between two rounds of metrics; else `OTEL_METRIC_EXPORT_INTERVAL`, 60000."
    ],
    traces_interval: [
      kind: @ms_or_nil,
      default: nil,
      doc: "ms that a span waits at most to be sent; 512 are sent at once. Else `OTEL_BSP_SCHEDULE_DELAY`, 5000."
    ],
    timeout: [
      kind: @ms_or_nil,
      default: nil,
      doc:
        "ms for one try of three. Else `OTEL_EXPORTER_OTLP_METRICS_TIMEOUT` or `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, " <>
          "`OTEL_EXPORTER_OTLP_TIMEOUT`, 10000."
    ],
    cacertfile: [
      kind: {:like, "a path or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "a PEM file of the certificate authorities to trust over https://, read, as the next two, when the exporter begins. Else `OTEL_EXPORTER_OTLP_CERTIFICATE`, and else those that " <>
          "the system trusts."
    ],
    certfile: [
      kind: {:like, "a path or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "a PEM file with the certificate to show to a collector that asks for one. Else `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`."
    ],
    keyfile: [
      kind: {:like, "a path or nil", &__MODULE__.path?/1},
      default: nil,
      doc:
        "a PEM file with its key. Else `OTEL_EXPORTER_OTLP_CLIENT_KEY`. These three have variables for one signal, too."
    ]
  ]

  @kinds [statsd: @statsd, dogstatsd: @statsd, otlp: @otlp]

  @type http :: %{
          port: :inet.port_number(),
          ip: :inet.ip_address(),
          token: token,
          admin: token | nil,
          hosts: [String.t()],
          advertise: String.t() | nil,
          discovery: [module],
          max_connections: pos_integer,
          max_header_bytes: pos_integer,
          header_timeout: pos_integer,
          request_timeout: pos_integer,
          connection_lifetime: pos_integer,
          live_within: pos_integer
        }

  @type token :: {:token, Secret.t(String.t())} | {:file, Path.t()}

  @typedoc "An exporter that sends by itself. `otlp_traces` is of one instance, which it gets where it is started."
  @type exporter :: {kind, map}
  @type kind :: :statsd | :dogstatsd | :otlp | :otlp_traces

  @typedoc "What an instance wants of the VM."
  @type t :: %{http: http | nil, exporters: [exporter]}

  @doc "Checks both options; raises `ArgumentError` on a bad one, without what must not be seen."
  @spec new!(keyword | false, keyword) :: t
  def new!(http, exporters) do
    exporters = exporters |> veil_exporters() |> Enum.flat_map(&exporter!/1) |> Enum.uniq()
    %{http: http!(http), exporters: if(Environment.disabled?(), do: [], else: exporters)}
  end

  defp http!(false), do: nil

  defp http!(options) do
    where = "Kantoku, option :http"
    options = veil(options)
    checked = Options.validate!(options, @http, where)
    {file, checked} = Map.pop(checked, :token_file)
    {admin, checked} = Map.split(checked, [:admin_token, :admin_token_file])
    token = token!(:token, checked.token, file, where) || default_token()
    admin = token!(:admin_token, admin.admin_token, admin.admin_token_file, where)
    Map.merge(checked, %{ip: ip!(checked.ip), token: token, admin: admin})
  end

  defp default_token, do: {:file, Path.join(:filename.basedir(:user_config, "kantoku"), "token")}

  @doc "The option `:http` with what must not be seen in functions, as options stand in child specs, which supervisors show."
  @spec veil(term) :: term
  def veil(options), do: veil(options, @http, [:token, :admin_token])

  @doc "The option `:exporters`, likewise."
  @spec veil_exporters(term) :: term
  def veil_exporters(exporters) do
    if Keyword.keyword?(exporters),
      do: for({kind, options} <- exporters, do: {kind, veil(options, Keyword.get(@kinds, kind, []), [:headers])}),
      else: Secret.hide(exporters)
  end

  # A name that is mistyped may be that of a secret, and so may all be that is no list of options.
  defp veil(off, _schema, _secrets) when off in [false, nil], do: off

  defp veil(options, schema, secrets) do
    if Keyword.keyword?(options),
      do:
        for({name, value} <- options, do: {name, veiled(name, value, name in secrets, Keyword.has_key?(schema, name))}),
      else: Secret.hide(options)
  end

  defp veiled(_name, nil, _secret?, _known?), do: nil
  defp veiled(_name, value, secret?, known?) when secret? or not known?, do: Secret.hide(value)
  defp veiled(name, url, _secret?, _known?) when name in [:endpoint, :traces_endpoint], do: without_user(url)
  defp veiled(_name, value, _secret?, _known?), do: value

  # What is left of it is refused all the same.
  defp without_user(url) when is_binary(url) do
    if Words.user?(url), do: Regex.replace(~r{[^/?#@]*(?:@[^/?#@]*)*@}, url, "...@", global: false), else: url
  end

  defp without_user(url), do: url

  defp token!(_option, nil, nil, _where), do: nil
  defp token!(_option, nil, file, _where), do: {:file, Path.expand(file)}

  defp token!(option, token, nil, where) do
    fits? = with {:ok, given} <- Secret.given(token), do: Words.token?(given)

    if fits?,
      do: {:token, token},
      else:
        raise(ArgumentError, "#{where}, option :#{option}: expected #{Words.token()}, or a function that returns them")
  end

  defp token!(option, _token, _file, where),
    do: raise(ArgumentError, "#{where}: expected :#{option} or :#{option}_file, got both")

  defp exporter!({kind, options}) do
    where = "Kantoku, option :exporters, #{inspect(kind)}"

    case Keyword.fetch(@kinds, kind) do
      {:ok, schema} -> finished(kind, checked!(options, schema, where), where)
      :error -> raise ArgumentError, "#{where}: expected one of #{inspect(Keyword.keys(@kinds))}"
    end
  end

  # What is wrong with headers is said without them.
  defp checked!(options, schema, where) do
    checked = Options.validate!(options, schema, where)
    headers = Map.get(checked, :headers)
    fit? = headers == nil or with {:ok, given} <- Secret.given(headers), do: Words.headers?(given)

    if fit?,
      do: checked,
      else:
        raise(ArgumentError, "#{where}, option :headers: expected #{Words.headers()}; or a function that returns them")
  end

  defp finished(:otlp, checked, where) do
    shared = %{
      headers: checked.headers || Secret.hide([]),
      resource: Environment.resource(checked.resource)
    }

    for signal <- checked.signals || Environment.signals(),
        {kind, endpoint, interval} <- List.wrap(sent(signal, checked)) do
      own = %{
        endpoint: endpoint!(endpoint, where),
        interval: interval,
        timeout: checked.timeout || Environment.timeout(signal)
      }

      {kind, shared |> Map.merge(own) |> Map.merge(files!(signal, checked, where))}
    end
  end

  defp finished(kind, checked, _where), do: [{kind, checked}]

  # A certificate is of no use without its key.
  defp files!(signal, given, where) do
    {authorities, certificate, key} = Environment.tls(signal)
    files = %{cacertfile: given.cacertfile || authorities, certfile: given.certfile || certificate}
    files = Map.put(files, :keyfile, given.keyfile || key)

    for {one, other} <- [certfile: :keyfile, keyfile: :certfile], files[one] != nil and files[other] == nil do
      raise ArgumentError,
            "#{where}: expected #{inspect(other)}, or its variable, beside #{inspect(one)}, got: #{inspect(files[one])} alone"
    end

    files
  end

  defp sent(:metrics, given) do
    {:otlp, given.endpoint || Environment.endpoint(:metrics), given.interval || Environment.interval(:metrics)}
  end

  defp sent(:traces, given) do
    endpoint = given.traces_endpoint || beside(given.endpoint)
    if endpoint, do: {:otlp_traces, endpoint, given.traces_interval || Environment.interval(:traces)}
  end

  # Where metrics go by a path of their own, no spans do.
  defp beside(nil), do: Environment.endpoint(:traces)
  defp beside(endpoint), do: if(URI.parse(endpoint).path in [nil, "", "/"], do: endpoint)

  # What else is not an endpoint of ours is told when it is started.
  defp endpoint!(endpoint, where) do
    cond do
      Words.user?(endpoint) ->
        raise ArgumentError,
              "#{where}, option :endpoint, or its variable: expected a URL without a user and a password; say them by :headers, " <>
                "as {\"authorization\", \"Basic ...\"}"

      not String.starts_with?(endpoint, ["http://", "https://"]) ->
        raise ArgumentError,
              "#{where}, option :endpoint: expected an http:// or https:// URL, got: #{inspect(endpoint)}"

      true ->
        endpoint
    end
  end

  @doc false
  def port?(port), do: port in 0..65_535

  @doc false
  def ip?(ip), do: match?({:ok, _ip}, parsed(ip))

  defp ip!(ip) do
    {:ok, ip} = parsed(ip)
    ip
  end

  defp parsed(ip) when is_binary(ip), do: ip |> String.to_charlist() |> :inet.parse_strict_address()
  defp parsed(ip), do: if(:inet.ntoa(ip) == {:error, :einval}, do: :error, else: {:ok, ip})

  @doc false
  def path?(path), do: path == nil or Words.text?(path)

  @doc false
  def address?(address), do: address == nil or Words.host_of(address) != nil

  @doc false
  def ms_or_nil?(ms), do: ms == nil or Words.ms?(ms)

  @doc false
  def signals?(signals), do: signals == nil or (is_list(signals) and Enum.all?(signals, &(&1 in [:metrics, :traces])))

  @doc false
  def hosts?(hosts), do: is_list(hosts) and Enum.all?(hosts, &Words.host?/1)

  @doc "The schema of the option `:http`."
  @spec http_schema() :: Options.schema()
  def http_schema, do: @http

  @doc "The options of an exporter as Markdown."
  @spec docs(:http | :statsd | :otlp) :: String.t()
  def docs(:http), do: Options.docs(@http)
  def docs(kind), do: Options.docs(@kinds[kind])
end
