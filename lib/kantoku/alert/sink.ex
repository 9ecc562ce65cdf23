defmodule Kantoku.Alert.Sink do
  # Where alerts go, checked once. What must not be read in a log (addresses and headers may hold tokens) lies in functions, which
  # are never printed with what is in them. Knows no process.
  @moduledoc false

  alias Kantoku.Options

  @secret "strings in pairs, or a function without arguments that answers such; they are not shown here"

  @line [
    timeout: [kind: :positive, default: 10_000, doc: "ms for one attempt; then it is killed, and made again."],
    max_queue: [
      kind: :positive,
      default: 10_000,
      doc:
        "how many may wait (Prometheus' `notification-queue-capacity`); one more takes the place of the oldest, and is counted."
    ],
    retry: [
      kind:
        {:options,
         [
           base: [kind: :positive, default: 1_000, doc: "ms: the most before the first,"],
           cap: [kind: :positive, default: 30_000, doc: "and before any."]
         ]},
      doc: "attempts follow one another after a random time up to a bound that doubles (full jitter)."
    ]
  ]

  @http [
    url: [
      kind: {:like, "the address of an HTTP server (it is not shown here)", &__MODULE__.url?/1},
      required: true,
      doc: "where."
    ],
    headers: [
      kind: {:like, @secret, &__MODULE__.headers?/1},
      default: [],
      doc: "more headers: strings in pairs, or a function that answers such, so that a token may change."
    ],
    cacertfile: [
      kind: {:like, "the path of a file", &__MODULE__.path?/1},
      default: nil,
      doc: "certificates (PEM) to trust in place of the system's."
    ]
  ]

  @alertmanager @http ++
                  [
                    resend: [
                      kind: :positive,
                      default: 60_000,
                      doc:
                        "ms after which what fires is told again; untold for four times that, Alertmanager takes it for resolved."
                    ],
                    generator_url: [
                      kind: {:like, "a string", &__MODULE__.path?/1},
                      default: nil,
                      doc: "a link of each alert."
                    ]
                  ] ++ @line

  @webhook @http ++ @line

  @function [
              run: [
                kind: {:like, "a function of one alert", &__MODULE__.function?/1},
                required: true,
                doc: "what is run."
              ]
            ] ++
              @line

  @logger [
            level: [
              kind: {:one_of, [:debug, :info, :warning, :error]},
              default: :warning,
              doc: "of what fires; what is resolved is `:info`."
            ]
          ] ++
            @line

  @kinds [alertmanager: @alertmanager, webhook: @webhook, function: @function, logger: @logger]

  @enforce_keys [:id, :kind, :title, :options]
  defstruct @enforce_keys

  @typedoc "`title` may be shown; `options` has the rest, with address and headers as functions."
  @type t :: %__MODULE__{
          id: non_neg_integer,
          kind: :alertmanager | :webhook | :function | :logger,
          title: String.t(),
          options: map
        }

  @doc "Checks a list of sinks; raises `ArgumentError` on a bad one."
  @spec all!([term]) :: [t]
  def all!(sinks), do: for({sink, id} <- Enum.with_index(sinks), do: new!(sink, id))

  defp new!(:logger, id), do: new!({:logger, []}, id)
  defp new!({:function, fun}, id) when is_function(fun), do: new!({:function, run: fun}, id)

  defp new!({kind, options}, id) when kind in [:alertmanager, :webhook, :function, :logger] do
    where = "Kantoku, option :alerts, sink #{inspect(kind)}"
    checked = hidden!(kind, options, where) |> Options.validate!(@kinds[kind], where)
    %__MODULE__{id: id, kind: kind, title: title(kind, checked), options: checked}
  end

  defp new!(other, _id) do
    given = if is_tuple(other) and tuple_size(other) > 0, do: elem(other, 0), else: other

    raise ArgumentError,
          "Kantoku, option :alerts, option :sinks: expected :logger, or {kind, options} with one of " <>
            "#{inspect(Keyword.keys(@kinds))}, got: #{inspect(given)}"
  end

  # Before anything may print them.
  defp hidden!(kind, options, where) do
    unless Keyword.keyword?(options), do: raise(ArgumentError, "#{where}: expected a keyword list")
    options = if kind in [:alertmanager, :webhook], do: Keyword.put_new(options, :headers, []), else: options
    options |> hide(:url) |> hide(:headers)
  end

  defp hide(options, name) do
    case Keyword.fetch(options, name) do
      {:ok, value} when not is_function(value) -> Keyword.put(options, name, fn -> value end)
      _absent_or_hidden -> options
    end
  end

  defp title(kind, %{url: url}), do: "#{kind} at #{URI.parse(url.()).host}"
  defp title(kind, _options), do: "#{kind}"

  @doc "How many alerts it takes at once."
  @spec batch(t) :: pos_integer
  def batch(%{kind: kind}) when kind in [:alertmanager, :webhook], do: 64
  def batch(_sink), do: 1

  @doc "After how many ms it is told again of what fires; `nil`: never."
  @spec resend(t) :: pos_integer | nil
  def resend(%{options: options}), do: Map.get(options, :resend)

  @doc false
  def url?(url) when is_function(url, 0) do
    case url.() do
      text when is_binary(text) -> http?(URI.parse(text))
      _other -> false
    end
  end

  def url?(_other), do: false

  defp http?(uri), do: uri.scheme in ["http", "https"] and uri.host not in [nil, ""]

  @doc false
  def headers?(headers) when is_function(headers, 0) do
    # One that is computed may not be to be had yet.
    case :erlang.fun_info(headers, :module) do
      {:module, __MODULE__} -> pairs?(headers.())
      _users_own -> true
    end
  end

  def headers?(_other), do: false

  @doc "Whether these are headers."
  @spec pairs?(term) :: boolean
  def pairs?(pairs) do
    is_list(pairs) and
      Enum.all?(pairs, fn
        {name, value} when is_binary(name) and is_binary(value) -> not (name <> value =~ ~r/[\r\n]/)
        _other -> false
      end)
  end

  @doc false
  def function?(fun), do: is_function(fun, 1)

  @doc false
  def path?(path), do: is_nil(path) or is_binary(path)

  @doc "The options of each kind, as Markdown."
  @spec docs(atom) :: String.t()
  def docs(kind), do: Options.docs(@kinds[kind])
end
