defmodule Kantoku.OTLPSpans do
  @moduledoc """
  Reads spans out of a request of OTLP (opentelemetry-proto 1.x, `trace/v1/trace.proto`) by the wire format of protobuf alone, with nothing of
  who wrote it.
  """

  import Bitwise

  @doc "All spans of a request, with the attributes of its resource: ids as hexadecimal digits, `\"\"` for none. Packed by gzip or not."
  def decode(<<0x1F, 0x8B, _rest::binary>> = packed), do: packed |> :zlib.gunzip() |> decode()

  def decode(body) do
    for {1, of_resource} <- fields(body),
        of_resource = fields(of_resource),
        {2, scope} <- of_resource,
        {2, span} <- fields(scope),
        do: span(fields(span), resource(of_resource))
  end

  @doc "How many points are in a request of metrics (`metrics/v1/metrics.proto`)."
  def points(body) do
    points =
      for {1, of_resource} <- fields(body),
          {2, scope} <- fields(of_resource),
          {2, metric} <- fields(scope),
          # A gauge, a sum or a histogram, each of which has its points first.
          {kind, data} when kind in [5, 7, 9] <- fields(metric),
          {1, point} <- fields(data),
          do: point

    length(points)
  end

  @doc "All spans of requests that were posted to the calling process and not read yet, by the order in which they came."
  def posted do
    for body <- bodies(), span <- decode(body), do: span
  end

  @doc "As `posted/0`, by request."
  def bodies do
    receive do
      {:posted, _url, "/v1/traces", _headers, body} -> [body | bodies()]
    after
      0 -> []
    end
  end

  defp span(fields, resource) do
    %{
      trace: hex(fields, 1),
      span: hex(fields, 2),
      state: text(fields, 3),
      parent: hex(fields, 4),
      name: text(fields, 5),
      kind: one(fields, 6),
      began: one(fields, 7),
      ended: one(fields, 8),
      attributes: pairs(fields, 9),
      events: for({11, event} <- fields, do: event(fields(event))),
      links: for({13, link} <- fields, do: link(fields(link))),
      status: fields |> text(15) |> fields() |> one(3),
      resource: resource
    }
  end

  defp event(fields), do: {one(fields, 1), text(fields, 2), pairs(fields, 3)}
  defp link(fields), do: {hex(fields, 1), hex(fields, 2)}

  defp resource(fields) do
    for {1, resource} <- fields, into: %{}, do: {:attributes, pairs(fields(resource), 1)}
  end

  defp pairs(fields, number) do
    for {^number, pair} <- fields, pair = fields(pair), into: %{}, do: {text(pair, 1), value(fields(text(pair, 2)))}
  end

  defp value([{1, text}]), do: text
  defp value([{2, bool}]), do: bool == 1
  defp value([{3, integer}]), do: if(integer >= 1 <<< 63, do: integer - (1 <<< 64), else: integer)
  defp value([{4, bits}]), do: with(<<float::float-64>> <- <<bits::64>>, do: float)

  defp hex(fields, number), do: fields |> text(number) |> Base.encode16(case: :lower)
  defp text(fields, number), do: List.keyfind(fields, number, 0, {number, ""}) |> elem(1)
  defp one(fields, number), do: List.keyfind(fields, number, 0, {number, 0}) |> elem(1)

  # The wire: `{number, value}` of each field, an integer or bytes.
  defp fields(""), do: []

  defp fields(bytes) do
    {tag, rest} = varint(bytes)
    {value, rest} = field(tag &&& 7, rest)
    [{tag >>> 3, value} | fields(rest)]
  end

  defp field(0, bytes), do: varint(bytes)
  defp field(1, <<value::little-64, rest::binary>>), do: {value, rest}
  defp field(5, <<value::little-32, rest::binary>>), do: {value, rest}

  defp field(2, bytes) do
    {size, rest} = varint(bytes)
    <<value::binary-size(size), rest::binary>> = rest
    {value, rest}
  end

  defp varint(<<1::1, low::7, rest::binary>>) do
    {high, rest} = varint(rest)
    {high <<< 7 ||| low, rest}
  end

  defp varint(<<0::1, value::7, rest::binary>>), do: {value, rest}
end
