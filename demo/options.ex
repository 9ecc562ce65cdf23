defmodule Demo.Options do
  # What the command line asked for. Knows neither files nor agents.
  @moduledoc false

  alias Demo.Crew

  defstruct dir: nil,
            agents: 2_000,
            kill_rate: 20,
            seconds: 30,
            engine: :native,
            crew: :kantoku,
            surge: false,
            faults: false,
            http: 9464,
            json: false

  @type t :: %__MODULE__{
          dir: Path.t() | nil,
          agents: pos_integer,
          kill_rate: non_neg_integer,
          seconds: pos_integer,
          engine: :native | :elixir,
          crew: :kantoku | :jido,
          surge: boolean,
          faults: boolean,
          http: :inet.port_number() | false,
          json: boolean
        }

  @switches [agents: :integer, kill_rate: :integer, seconds: :integer, engine: :string] ++
              [jido: :boolean, surge: :boolean, faults: :boolean, json: :boolean, help: :boolean] ++
              [http: :integer, no_http: :boolean]
  @least [agents: 3, kill_rate: 0, seconds: 1, http: 0]
  @most_http 65_535

  @usage """
  bin/demo [DIR] [--agents N] [--kill-rate R] [--seconds S] [--engine native|elixir] [--jido] [--surge] [--faults] [--json]
           [--http PORT | --no-http]

  N supervised agents (2000) in three pools work through every file below DIR, pass after pass for S seconds (30), while R of them
  a second (20) are killed. What they counted is compared with a plain computation. DIR is the system's own documentation if not
  given.

  --jido   the agents are Jido's, where Jido is to be had
  --surge  32 times as many files are handed out at once (1,024, not 32) for 15 s in the middle, or for half of the time if that
           is less: pools grow, requests wait, some are refused and asked again
  --faults besides the kills, a quarter as often, agents hang, slow down and leak memory. Health has to find those that hang, and
           to leave the others alone
  --http   the port of the loopback that metrics and the dashboard are served at while this runs (9464; 0 takes a free one). What
           they are asked with is printed with the address. A port that is taken stops nothing. --no-http serves none
  --json   the last line is the result as an object

  Exit code: 0 identical, 1 not identical, or health restarted one that was well or missed one that hung, 2 the job could not be begun.
  """

  @doc "How to call it."
  @spec usage() :: String.t()
  def usage, do: @usage

  @doc "Reads the arguments."
  @spec parse([String.t()]) :: {:ok, t} | {:error, String.t()} | :help
  def parse(argv) do
    {given, names, invalid} = argv |> Enum.reject(&(&1 == "--")) |> OptionParser.parse(strict: @switches)

    with :ok <- valid(invalid),
         false <- Keyword.get(given, :help, false),
         {:ok, dir} <- dir(names),
         :ok <- large_enough(given),
         {:ok, http} <- http(given),
         {:ok, engine} <- engine(Keyword.get(given, :engine, "native")),
         crew = if(given[:jido], do: :jido, else: :kantoku),
         {:ok, _module} <- Crew.named(crew),
         :ok <- fit(given, crew) do
      {:ok,
       struct!(
         __MODULE__,
         given
         |> Keyword.drop([:help, :jido, :no_http])
         |> Keyword.merge(dir: dir, engine: engine, crew: crew, http: http)
       )}
    else
      true -> :help
      {:error, _sentence} = error -> error
    end
  end

  defp valid([]), do: :ok
  defp valid([{switch, nil} | _]), do: {:error, "#{switch} is not an option here, or lacks its value"}
  defp valid([{switch, value} | _]), do: {:error, "#{switch} takes a whole number, got #{inspect(value)}"}

  defp dir([]), do: {:ok, nil}
  defp dir([dir]), do: {:ok, Path.expand(dir)}
  defp dir([_, another | _]), do: {:error, "one folder at a time, got #{inspect(another)} as well"}

  defp large_enough(given) do
    case Enum.find(@least, fn {name, least} -> Keyword.get(given, name, least) < least end) do
      nil -> :ok
      {name, least} -> {:error, "#{switch(name)} is at least #{least}, got #{given[name]}"}
    end
  end

  defp http(given) do
    port = Keyword.get(given, :http, 9464)

    cond do
      given[:no_http] -> {:ok, false}
      port > @most_http -> {:error, "--http is at most #{@most_http}, got #{port}"}
      true -> {:ok, port}
    end
  end

  defp fit(given, crew) do
    if given[:faults] && crew == :jido,
      do: {:error, "--faults befall Kantoku's own agents, which --jido has none of"},
      else: :ok
  end

  defp switch(name), do: "--" <> String.replace(Atom.to_string(name), "_", "-")

  defp engine("native"), do: {:ok, :native}
  defp engine("elixir"), do: {:ok, :elixir}
  defp engine(other), do: {:error, "--engine is native or elixir, got #{inspect(other)}"}
end
