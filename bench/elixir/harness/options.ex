defmodule Bench.Options do
  @moduledoc false
  # What the command line asked for. Knows the names of suites only as it is told them.

  defstruct names: [], quick: false, engine: :native, only: nil, control: false, rounds: nil, command: ""

  @type t :: %__MODULE__{
          names: [String.t()],
          quick: boolean,
          engine: :native | :elixir,
          only: Regex.t() | nil,
          control: boolean,
          rounds: pos_integer | nil,
          command: String.t()
        }

  @switches [quick: :boolean, engine: :string, only: :string, control: :boolean, rounds: :integer, help: :boolean]

  @doc "Reads the arguments; `known` are the suites there are, and all of them are meant where none is named."
  @spec parse([String.t()], [String.t()]) :: {:ok, t} | {:error, String.t()} | :help
  def parse(argv, known) do
    argv = Enum.reject(argv, &(&1 == "--"))
    {given, names, invalid} = OptionParser.parse(argv, strict: @switches)

    with :ok <- refuse_invalid(invalid),
         false <- Keyword.get(given, :help, false),
         {:ok, names} <- names(names, known),
         {:ok, engine} <- engine(Keyword.get(given, :engine, "native")),
         {:ok, only} <- pattern(given[:only]),
         {:ok, rounds} <- rounds(given[:rounds]) do
      {:ok, build(given, names, engine, only, rounds, argv)}
    else
      true -> :help
      {:error, _} = error -> error
    end
  end

  @doc "How many of something: all of it, or less when it has to be quick."
  @spec size(t, full :: number, quick :: number) :: number
  def size(%__MODULE__{quick: true}, _full, quick), do: quick
  def size(%__MODULE__{}, full, _quick), do: full

  @doc "How many rounds to run."
  @spec rounds_to_run(t) :: pos_integer
  def rounds_to_run(%__MODULE__{rounds: nil} = options), do: size(options, 7, 3)
  def rounds_to_run(%__MODULE__{rounds: rounds}), do: rounds

  defp build(given, names, engine, only, rounds, argv) do
    %__MODULE__{
      names: names,
      quick: Keyword.get(given, :quick, false),
      control: Keyword.get(given, :control, false),
      engine: engine,
      only: only,
      rounds: rounds,
      command: Enum.join(["bin/bench" | argv], " ")
    }
  end

  defp refuse_invalid([]), do: :ok
  defp refuse_invalid([{switch, nil} | _]), do: {:error, "#{switch} is not an option here, or lacks its value"}
  defp refuse_invalid([{switch, value} | _]), do: {:error, "#{switch} cannot be #{inspect(value)}"}

  defp names([], known), do: {:ok, known}

  defp names(names, known) do
    case names -- known do
      [] -> {:ok, Enum.uniq(names)}
      [name | _] -> {:error, "there is no #{inspect(name)}; expected any of #{Enum.join(known, ", ")}"}
    end
  end

  defp engine("native"), do: {:ok, :native}
  defp engine("elixir"), do: {:ok, :elixir}
  defp engine(other), do: {:error, "--engine is native or elixir, got #{inspect(other)}"}

  defp pattern(nil), do: {:ok, nil}

  defp pattern(source) do
    case Regex.compile(source) do
      {:ok, regex} -> {:ok, regex}
      {:error, {why, _}} -> {:error, "--only takes a regular expression, got #{inspect(source)}: #{why}"}
    end
  end

  defp rounds(nil), do: {:ok, nil}
  defp rounds(n) when n > 0, do: {:ok, n}
  defp rounds(n), do: {:error, "--rounds is at least 1, got #{n}"}
end
