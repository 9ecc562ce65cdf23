if Code.ensure_loaded?(Plug.Conn) do
  defmodule Kantoku.Plug do
    @moduledoc """
    The dashboard, the API, the events and the metrics of this VM's instances in an application of [Plug](https://hexdocs.pm/plug)'s, without a
    listener of our own.

        forward "/kantoku", to: Kantoku.Plug, init_opts: [token: {MyApp.Secrets, :kantoku_token, []}]

    In Phoenix: `forward "/kantoku", Kantoku.Plug, token: {MyApp.Secrets, :kantoku_token, []}`.

    It answers the paths that `Kantoku.Exporters` serves, but for the probes. Who may ask is said by the options, the first of which is required:

      * `:token` - what requests bring as `authorization: Bearer`, 16 characters or more, or `{module, function, arguments}` that returns that; the
        page's own files need none. Or `:none`: the plugs before this one have decided it.
      * `:admin_token` - a second one, what requests bring that do something (`Kantoku.Api.post/2`); it opens nothing else. Without it every POST is
        answered 405.

    What is different from the listener:

      * the host's server decides by which names it is found, and what a connection may cost;
      * all of it is answered by the VM, so not while it is busy, and there are no probes, which are for that;
      * history and what became of agents are written down from the first request on, until the application ends; where an instance of the VM has the option
        `:http`, from its start on;
      * events are for 32 readers here, besides those of a listener; one more is answered 503. Each reads by itself;
      * metrics are not packed, and tell of exporters and connections only where there are some.

    Without the native library there are neither history nor metrics.
    """

    @behaviour Plug

    import Plug.Conn

    alias Kantoku.{Api, JSON, Native, Telemetry}
    alias Kantoku.Api.{Feed, Happening, Recorder, Sampler}
    alias Kantoku.Exporters.Given

    @assets Path.expand("../../native/exporters/assets", __DIR__)
    @names for path <- Path.wildcard(@assets <> "/**/*"), File.regular?(path), do: Path.relative_to(path, @assets)
    for name <- @names, do: @external_resource(Path.join(@assets, name))
    @files Map.new(@names, &{&1, File.read!(Path.join(@assets, &1))})

    # Mix asks: a file that came since, by `bin/assets`, is no resource of what was compiled without it.
    @doc false
    @spec __mix_recompile__?(Path.t()) :: boolean
    def __mix_recompile__?(folder \\ @assets) do
      files = for path <- Path.wildcard(folder <> "/**/*"), File.regular?(path), do: Path.relative_to(path, folder)
      files != @names
    end

    # As the listener's: see `native/exporters/src/http`.
    @page_policy "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " <>
                   "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    @careful [
      {"content-security-policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"x-content-type-options", "nosniff"},
      {"x-frame-options", "DENY"},
      {"referrer-policy", "no-referrer"},
      {"cache-control", "no-store"},
      {"cross-origin-resource-policy", "same-origin"}
    ]

    @types %{
      ".html" => "text/html; charset=utf-8",
      ".css" => "text/css; charset=utf-8",
      ".js" => "text/javascript; charset=utf-8",
      ".svg" => "image/svg+xml"
    }

    # A word on a stream at least so often, in ms, so that who has gone is noticed.
    @quiet 15_000
    @least 16

    @doc "Checks the options; raises `ArgumentError` on a bad one, without the token."
    @impl Plug
    @spec init(keyword) :: %{token: String.t() | mfa | :none, admin: String.t() | mfa | nil, quiet: pos_integer}
    def init(options) do
      token = options[:token]
      admin = options[:admin_token]

      token == :none or secret?(token) ||
        refuse(:token, "#{@least} characters or more, {module, function, arguments} or :none")

      admin == nil or secret?(admin) ||
        refuse(:admin_token, "#{@least} characters or more, {module, function, arguments} or nil")

      is_binary(admin) and admin == token && refuse(:admin_token, "another token than :token")
      %{token: token, admin: admin, quiet: @quiet}
    end

    defp secret?({module, function, arguments}), do: is_atom(module) and is_atom(function) and is_list(arguments)
    defp secret?(token), do: is_binary(token) and byte_size(token) >= @least

    defp refuse(option, expected),
      do: raise(ArgumentError, "Kantoku.Plug, option #{inspect(option)}: expected #{expected}")

    @impl Plug
    @spec call(Plug.Conn.t(), map) :: Plug.Conn.t()
    def call(conn, options) do
      conn = merge_resp_headers(conn, @careful)

      case admit(conn, options) do
        :read -> conn |> answer(conn.path_info, options) |> halt()
        :act -> said(conn, Api.post(conn.path_info, params(conn)))
        :method -> conn |> put_resp_header("allow", "GET, HEAD") |> finish(405, nil, "")
        :token -> conn |> put_resp_header("www-authenticate", "Bearer") |> finish(401, nil, "")
        :scope -> finish(conn, 403, nil, "")
      end
    end

    # Who may ask --------------------------------------------------------------------------------------------------------

    defp admit(%{method: "POST", path_info: ["api", "v1", "admin" | _]} = conn, %{admin: admin} = options)
         when admin != nil do
      cond do
        allowed?(conn, admin) -> :act
        options.token != :none and allowed?(conn, options.token) -> :scope
        true -> :token
      end
    end

    defp admit(conn, _options) when conn.method not in ["GET", "HEAD"], do: :method

    defp admit(conn, options),
      do: if(public?(conn.path_info) or allowed?(conn, options.token), do: :read, else: :token)

    defp public?([]), do: true
    defp public?(["assets" | _name]), do: true
    defp public?(_path), do: false

    defp allowed?(_conn, :none), do: true
    defp allowed?(conn, {module, function, arguments}), do: brings?(conn, apply(module, function, arguments))
    defp allowed?(conn, token), do: brings?(conn, token)

    defp brings?(conn, token) when is_binary(token) and byte_size(token) >= @least do
      with [header] <- get_req_header(conn, "authorization"),
           [scheme, given] <- String.split(header, " ", parts: 2) do
        String.downcase(scheme) == "bearer" and Plug.Crypto.secure_compare(String.trim(given), token)
      else
        _missing -> false
      end
    end

    defp brings?(_conn, _no_token), do: false

    # What there is --------------------------------------------------------------------------------------------------------

    # The page asks by addresses relative to its own.
    defp answer(conn, [], _options) do
      if String.ends_with?(conn.request_path, "/"),
        do: file(conn, "index.html"),
        else: conn |> put_resp_header("location", conn.request_path <> "/") |> finish(308, nil, "")
    end

    defp answer(conn, ["assets" | name], _options) when name != ["index.html"], do: file(conn, Enum.join(name, "/"))

    defp answer(conn, ["metrics"], _options) do
      accept = conn |> get_req_header("accept") |> Enum.join(",")
      metrics(conn, Native.exporters_metrics(accept, Given.families()))
    end

    defp answer(conn, path, options) do
      Recorder.asked()
      Sampler.asked()
      kept(conn, path, options)
    end

    defp kept(conn, ["api", "v1", "history"], _options), do: history(conn, :courses)
    defp kept(conn, ["api", "v1", "history", "series"], _options), do: history(conn, :names)
    defp kept(conn, ["events"], options), do: events(conn, options.quiet)
    defp kept(conn, path, _options), do: said(conn, Api.get(path, params(conn)))

    defp params(conn), do: fetch_query_params(conn).query_params

    defp file(conn, name) do
      case @files do
        %{^name => bytes} ->
          conn |> put_resp_header("content-security-policy", @page_policy) |> finish(200, type(name), bytes)

        _none ->
          finish(conn, 404, nil, "")
      end
    end

    defp type(name), do: Map.get(@types, Path.extname(name), "application/octet-stream")

    defp metrics(conn, {type, page}), do: finish(conn, 200, type, page)
    defp metrics(conn, :unknown), do: no_library(conn)

    defp history(conn, which) do
      case Native.exporters_history(which, conn.query_string) do
        {:ok, body} -> finish(conn, 200, "application/json", body)
        {:error, expected} -> said(conn, Api.refuse({400, :bad_request, expected}))
        :unknown -> no_library(conn)
      end
    end

    defp no_library(conn),
      do: said(conn, Api.refuse({503, :unavailable, "this needs the native library, and none serves here"}))

    defp said(conn, {status, type, body}), do: finish(conn, status, type, body)

    defp finish(conn, status, nil, body), do: conn |> send_resp(status, body) |> halt()

    defp finish(conn, status, type, body),
      do: conn |> put_resp_header("content-type", type) |> send_resp(status, body) |> halt()

    # Events -----------------------------------------------------------------------------------------------------------------

    # Until the other side goes, or Kantoku stops.
    defp events(%{method: "HEAD"} = conn, _quiet), do: finish(conn, 200, "text/event-stream", "")

    defp events(conn, quiet) do
      case Feed.enter() do
        {:ok, place} ->
          read(conn, place, quiet)

        :full ->
          said(conn, Api.refuse({503, :limit, "as many read events as may; end one of those, or ask again later"}))

        :not_there ->
          said(conn, Api.refuse({503, :unavailable, "the VM did not answer in time; ask again"}))
      end
    end

    defp read(conn, place, quiet) do
      wanted = params(conn)
      {:ok, ref} = Telemetry.subscribe(nil)
      alive = Process.monitor(Feed)
      conn = conn |> put_resp_header("content-type", "text/event-stream") |> send_chunked(200)
      reader = %{ref: ref, alive: alive, instance: wanted["instance"], prefix: wanted["match"] || "", quiet: quiet}

      try do
        conn |> chunk(": events\n\n") |> told(conn) |> stream(reader, {0, now() + quiet})
      after
        Process.demonitor(alive, [:flush])
        Telemetry.unsubscribe(ref)
        Feed.leave(place)
      end
    end

    # What is not for this reader is no word to it: the time of the next one stays.
    defp stream({:ok, conn}, %{ref: ref, alive: alive} = reader, {dropped, word_at}) do
      receive do
        {:kantoku_event, ^ref, name, measurements, metadata} ->
          Telemetry.ack(ref)

          name
          |> Happening.map(measurements, metadata)
          |> tell(conn, reader)
          |> tell_dropped(reader, dropped)
          |> word_in_time(reader, word_at)

        {:DOWN, ^alive, :process, _feed, _reason} ->
          conn
      after
        max(word_at - now(), 0) -> word_in_time({{:ok, conn}, dropped}, reader, word_at)
      end
    end

    defp stream({:error, _closed, conn}, _reader, _at), do: conn

    defp word_in_time({{:ok, conn}, dropped}, reader, word_at) do
      if now() < word_at,
        do: stream({:ok, conn}, reader, {dropped, word_at}),
        else: conn |> chunk(":\n\n") |> told(conn) |> stream(reader, {dropped, now() + reader.quiet})
    end

    defp word_in_time({closed, dropped}, reader, word_at), do: stream(closed, reader, {dropped, word_at})

    defp now, do: System.monotonic_time(:millisecond)

    defp tell(event, conn, %{instance: instance, prefix: prefix}) do
      wanted? = instance in [nil, "", event.instance] and is_binary(prefix) and String.starts_with?(event.event, prefix)
      text = ["event: ", event.event, "\ndata: ", JSON.encode(event), "\n\n"]
      if wanted?, do: told(chunk(conn, text), conn), else: {:ok, conn}
    end

    defp tell_dropped({:ok, conn}, %{ref: ref}, dropped) do
      case Telemetry.dropped(ref) do
        ^dropped ->
          {{:ok, conn}, dropped}

        now ->
          {conn |> chunk("event: dropped\ndata: {\"count\":#{now - dropped}}\n\n") |> told(conn), now}
      end
    end

    defp tell_dropped(closed, _reader, dropped), do: {closed, dropped}

    defp told({:ok, conn}, _before), do: {:ok, conn}
    defp told({:error, reason}, conn), do: {:error, reason, conn}
  end
end
