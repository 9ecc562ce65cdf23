defmodule Kantoku.Pool.Simulation.LoadFile do
  @moduledoc """
  A load from comma-separated values, as `mix kantoku.scaling.replay` reads it.

  The first line names the columns. Of these three are read, in any order, and others left alone:

    * `time` - ms, later in each row than in the one before; where it begins does not matter;
    * `arrivals` - how many requests came from then until the next row's time (in the last row: for as long as in the one before);
    * `service_time` - ms that a worker has each of them.

      iex> alias Kantoku.Pool.Simulation.{LoadFile, Trace}
      iex> {:ok, trace} = LoadFile.parse("time,arrivals,service_time\\n0,2,80\\n1000,4,80\\n")
      iex> {arrivals, _} = Trace.take(trace, trace.until)
      iex> length(arrivals)
      6
      iex> {:error, why} = LoadFile.parse("time,arrivals,service_time\\n0,2,80\\n1000,four,80\\n")
      iex> why
      "line 3, column 2 (arrivals): expected a number of 0 or more, got: \\"four\\""
  """

  alias Kantoku.Pool.Simulation.Trace

  @columns ~w(time arrivals service_time)

  @doc "The load, its arrivals `:even` or `{:poisson, seed}`; or the line and column that cannot be read, and why."
  @spec parse(String.t(), :even | {:poisson, integer}) :: {:ok, Trace.t()} | {:error, String.t()}
  def parse(text, arrivals \\ :even) do
    with [{header, _} | lines] <- lines(text),
         {:ok, places} <- places(fields(header)),
         {:ok, rows} <- rows(lines, places, []) do
      trace(rows, arrivals)
    else
      [] -> {:error, "line 1: expected the names of the columns, got nothing"}
      {:error, why} -> {:error, why}
    end
  end

  defp lines(text) do
    text
    |> String.trim_leading("\uFEFF")
    |> String.split(["\r\n", "\n"])
    |> Enum.with_index(1)
    |> Enum.reject(fn {line, _} -> String.trim(line) == "" end)
  end

  defp fields(line), do: line |> String.split(",") |> Enum.map(&(&1 |> String.trim() |> String.trim("\"")))

  defp places(names) do
    case Enum.reject(@columns, &(&1 in names)) do
      [] -> {:ok, Map.new(@columns, fn column -> {column, Enum.find_index(names, &(&1 == column))} end)}
      missing -> {:error, "line 1: expected the columns #{Enum.join(missing, ", ")}, got: #{Enum.join(names, ", ")}"}
    end
  end

  defp rows([], _places, rows), do: {:ok, Enum.reverse(rows)}

  defp rows([{line, number} | rest], places, rows) do
    with {:ok, row} <- row(fields(line), places, number),
         :ok <- later(row, rows, places, number) do
      rows(rest, places, [row | rows])
    end
  end

  defp row(fields, places, number) do
    Enum.reduce_while(Enum.reverse(@columns), {:ok, []}, fn column, {:ok, row} ->
      case number(Enum.at(fields, places[column]), column) do
        {:ok, value} -> {:cont, {:ok, [value | row]}}
        {:error, why} -> {:halt, {:error, "line #{number}, column #{places[column] + 1} (#{column}): #{why}"}}
      end
    end)
  end

  defp number(nil, _column), do: {:error, "expected a number, got nothing: the line is too short"}

  defp number(text, column) do
    case parsed(text) do
      {value, ""} when value >= 0 or column == "time" -> {:ok, value}
      _other -> {:error, "expected a number#{if column != "time", do: " of 0 or more"}, got: #{inspect(text)}"}
    end
  end

  # Of too many digits Elixir 1.14 makes an exception.
  defp parsed(text) when byte_size(text) <= 100, do: Float.parse(text)
  defp parsed(_text), do: :error

  defp later([time | _], [[before | _] | _], places, number) when time <= before,
    do: {:error, "line #{number}, column #{places["time"] + 1} (time): expected more than #{before}, got: #{time}"}

  defp later(_row, _rows, _places, _number), do: :ok

  defp trace(rows, _arrivals) when length(rows) < 2,
    do: {:error, "expected two lines of values or more, got: #{length(rows)}"}

  defp trace(rows, arrivals) do
    times = Enum.map(rows, &hd/1)
    spans = times |> Enum.chunk_every(2, 1, :discard) |> Enum.map(fn [from, to] -> to - from end)
    last = List.last(spans)

    rates =
      for {[time, count, service], span} <- Enum.zip(rows, spans ++ [last]), do: {time, count * 1_000 / span, service}

    {:ok, Trace.rates(rates, List.last(times) + last, arrivals)}
  end
end
