defmodule Kantoku.Pool.Recording do
  @moduledoc """
  Decisions of a scaler as text, to be kept and replayed: `mix kantoku.scaling.replay FILE`.

  The first line says what the file is; each line after it is one decision, as an Erlang term that `:file.consult/1` reads as
  well. What was seen is kept whole, so the load can be made again from it, if each decision's observation has the metrics
  `:arrival_rate` (requests/s since the decision before) and `:service_time` (ms; may be missing where nothing came).

      iex> alias Kantoku.Pool.{Recording, Scaler}
      iex> policy = Scaler.Policy.new!(max: 20)
      iex> seen = %{size: 2, ready: 2, metrics: %{ongoing: 3, arrival_rate: 1.5, service_time: 800}}
      iex> {first, state} = Scaler.decide(Scaler.new(), policy, seen, 0)
      iex> {second, _state} = Scaler.decide(state, policy, %{seen | size: 5}, 1_000)
      iex> {:ok, entries} = [first, second] |> Recording.encode() |> IO.iodata_to_binary() |> Recording.decode()
      iex> for entry <- entries, do: {entry.at, entry.size, entry.wanted}
      [{0, 2, 5}, {1000, 5, 5}]

  Reading makes atoms of the names in the file, so read no file of a stranger in a VM that is to go on.
  """

  alias Kantoku.Pool.Scaler.Decision
  alias Kantoku.Pool.Simulation.Trace

  @first "{kantoku_scaling,1}.\n"

  @typedoc "What is kept of a decision; times in ms."
  @type entry :: %{
          at: integer,
          size: non_neg_integer,
          wanted: pos_integer,
          limited_by: [atom],
          observation: Kantoku.Pool.Scaler.observation()
        }

  @doc "The first line of a recording, for those who write one line after the other."
  @spec first_line() :: String.t()
  def first_line, do: @first

  @doc "The line of one decision."
  @spec line(Decision.t()) :: iodata
  def line(%Decision{} = decision) do
    entry = Map.put(Map.take(decision, [:at, :size, :wanted, :observation]), :limited_by, Decision.limited_by(decision))
    :io_lib.format("~0tp.~n", [entry]) |> :unicode.characters_to_binary()
  end

  @doc "A whole recording, oldest decision first."
  @spec encode([Decision.t()]) :: iodata
  def encode(decisions), do: [@first | Enum.map(decisions, &line/1)]

  @doc "Whether a text is a recording."
  @spec recording?(String.t()) :: boolean
  def recording?(text), do: String.starts_with?(text, String.trim_trailing(@first, ".\n"))

  @doc "The entries of a recording, or where and why it cannot be read. A last line that was cut off, as a full disk does, is left out."
  @spec decode(String.t()) :: {:ok, [entry]} | {:error, String.t()}
  def decode(@first <> lines) do
    {lines, [last]} = lines |> String.split("\n") |> Enum.split(-1)

    lines
    |> Enum.with_index(2)
    |> Enum.reject(fn {line, _} -> String.trim(line) == "" end)
    |> Enum.reduce_while([], fn {line, number}, entries ->
      case entry(line) do
        {:ok, entry} -> {:cont, [entry | entries]}
        {:error, why} -> {:halt, {:error, "line #{number}: #{why}"}}
      end
    end)
    |> and_last(last)
    |> decoded()
  end

  def decode(_other), do: {:error, "line 1: expected #{String.trim(@first)}"}

  @doc """
  The load that the entries tell of, arrivals `:even` or `{:poisson, seed}`; or what is missing.
  """
  @spec trace([entry], :even | {:poisson, integer}) :: {:ok, Trace.t()} | {:error, String.t()}
  def trace(entries, arrivals \\ :even)
  def trace(entries, _arrivals) when length(entries) < 2, do: {:error, "expected two decisions or more"}

  def trace([first, second | _] = entries, arrivals) do
    case rates(entries, 2 * first.at - second.at, 0, []) do
      {:ok, rates} -> {:ok, Trace.rates(rates, List.last(entries).at, arrivals)}
      error -> error
    end
  end

  # A rate is that of the time before its decision.
  defp rates([], _from, _service, rates), do: {:ok, Enum.reverse(rates)}

  defp rates([entry | rest], from, last_service, rates) do
    service = entry.observation.metrics[:service_time] || last_service

    case entry.observation.metrics[:arrival_rate] do
      rate when is_number(rate) ->
        rates(rest, entry.at, service, [{from, rate, service} | rates])

      other ->
        {:error,
         "the decision at #{entry.at} ms: expected a number as its metric :arrival_rate, got: #{inspect(other)}"}
    end
  end

  # No line break ends it: whoever wrote it may not have come to its end.
  defp and_last(entries, last) do
    with true <- is_list(entries), {:ok, entry} <- entry(last), do: [entry | entries], else: (_cut_off -> entries)
  end

  defp decoded({:error, why}), do: {:error, why}
  defp decoded(entries), do: entries |> Enum.reverse() |> ordered()

  defp ordered(entries) do
    case Enum.find(Enum.zip(entries, Enum.drop(entries, 1)), fn {one, next} -> next.at <= one.at end) do
      nil -> {:ok, entries}
      {one, next} -> {:error, "the decision at #{next.at} ms comes after that at #{one.at} ms"}
    end
  end

  defp entry(line) do
    with {:ok, tokens, _} <- line |> String.to_charlist() |> :erl_scan.string(),
         {:ok, term} <- :erl_parse.parse_term(tokens) do
      checked(term)
    else
      {:error, {_, module, why}, _} -> {:error, "#{module.format_error(why)}"}
      {:error, {_, module, why}} -> {:error, "#{module.format_error(why)}"}
    end
  end

  defp checked(%{at: at, size: size, wanted: wanted, observation: %{size: _, ready: _, metrics: %{}}} = entry)
       when is_integer(at) and is_integer(size) and is_integer(wanted),
       do: {:ok, Map.put_new(entry, :limited_by, [])}

  defp checked(_other), do: {:error, "expected a decision, with at, size, wanted and observation"}
end
