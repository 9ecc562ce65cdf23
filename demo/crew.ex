defmodule Demo.Crew do
  # Who does the work: what an agent of each kind is, and how it is asked. One crew is of Kantoku's own agents, one of Jido's; whoever
  # lends agents out knows neither.
  @moduledoc false

  alias Demo.{Extractor, Fleet, Tally}
  alias Kantoku.Error

  @typedoc "Why a piece of work is to be asked for again."
  @type again :: Error.t() | :gone | :late

  @doc "Starts what its agents need besides an instance of Kantoku's; linked to the caller."
  @callback open(instance :: atom) :: :ok

  @doc "Ends that."
  @callback close(instance :: atom) :: :ok

  @doc "What a pool of a kind starts: `:spec`, and further options of its agents."
  @callback worker(instance :: atom, Fleet.kind()) :: keyword

  @doc "Has any reader read a file."
  @callback read(instance :: atom, Path.t()) :: {:ok, {:ok, [binary]} | {:skip, Demo.Decode.reason()}} | {:error, again}

  @doc "Has an extractor that is lent count a part, and sees that the shard merges it. `held_up` is called while that is away."
  @callback merge(instance :: atom, extractor :: term, Extractor.errand(), text :: binary, held_up :: (() -> term)) ::
              :merged | {:again, again}

  @doc "What a shard has merged."
  @callback tally(instance :: atom, indexer :: term) :: {:ok, Tally.t()} | {:error, Error.t()}

  @doc "The crew of Kantoku's own agents, or of Jido's; or what is missing."
  @spec named(:kantoku | :jido) :: {:ok, module} | {:error, String.t()}
  def named(:kantoku), do: {:ok, Demo.OwnCrew}

  def named(:jido) do
    case {Code.ensure_loaded?(Demo.JidoCrew), Kantoku.Jido.compiled?()} do
      {true, true} ->
        {:ok, Demo.JidoCrew}

      {_loaded, false} ->
        {:error,
         "--jido needs Jido, which is not among the dependencies: let Hex be reached, or name a folder that has it and all it " <>
           "needs in KANTOKU_DEPS_DIR"}
    end
  end
end
