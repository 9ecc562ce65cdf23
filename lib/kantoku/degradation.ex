defmodule Kantoku.Degradation do
  @moduledoc """
  Doing less before there is nothing left to do it with.

      {Kantoku, name: MyApp.Agents, pools: [[name: :writers, worker: MyApp.Writer, shed: :low]]}

      {:ok, %{level: 0, memory: %{share: share}}} = Kantoku.Degradation.status(MyApp.Agents)

  A VM that runs out of memory is killed with all that it holds, and one whose run queues grow answers nobody in time. Before that an
  instance gives up what is not missed at once, level by level:

  | level | memory | run queue | sheds | that is |
  |---|---|---|---|---|
  | 1 | 70 % | 2 | `:sampling` | agents that pass a probe are asked a quarter as often, as `sample: :adaptive` has it. Those that do not pass, and the passive look, are as ever |
  | 2 | 80 % | 4 | `:background` | no forecast of a pool is reviewed; requests in a migration's `:shadow` are not compared |
  | 3 | 90 % | 8 | `:low_priority` | a pool with the option `:shed` refuses requests of that priority and below at its door, as `:overloaded` |

  Memory is the share of the smaller of the cgroup's limit (v1 and v2, the nearest or one around it) and the machine's, without files
  that the kernel keeps for later; the run queue is what waits for each scheduler that is online. The higher of the two counts. A
  level is entered when so many looks in a row (`:readings`) are at or above its mark, and left when as many are below nine tenths of
  it. What was promised is not shed: no snapshot, no restart, no request that a pool has taken.

  What cannot be read is `:unknown` and sheds nothing; on systems without `/proc` only run queues count.

  ## Options

  #{Kantoku.Degradation.Config.docs()}

  `degradation: false` turns all of it off. Each level that is entered or left is an event, `[:kantoku, :degradation, :entered]` and
  `[:kantoku, :degradation, :left]` (`Kantoku.Telemetry`). All functions answer `{:error, %Kantoku.Error{}}`: `:not_running`, and
  `:not_found` where it is off. See the guide "Back-pressure".
  """

  alias Kantoku.Degradation.{Config, Notes}
  alias Kantoku.{Error, Instances, Telemetry}

  @typedoc "0: nothing is shed."
  @type level :: 0..3

  @type shed :: :sampling | :background | :low_priority

  @typedoc """
  `level`, and for how many ms (`since`); what it `sheds`; `memory`, `:unknown` or `%{used, limit, share, source, level}` (bytes, percent,
  `:cgroup` or `:host`), and `run_queue`, `:unknown` or `%{per_scheduler, level}`, as last looked at.
  """
  @type status :: %{
          level: level,
          since: non_neg_integer,
          sheds: [shed],
          memory: :unknown | map,
          run_queue: :unknown | map
        }

  @doc "What is shed now, and for what. Read without asking any process."
  @spec status(instance :: atom) :: {:ok, status} | {:error, Error.t()}
  def status(instance) do
    Instances.reading(instance, fn _rows, book ->
      case Notes.status(book) do
        nil -> absent(instance)
        status -> {:ok, status}
      end
    end)
  end

  @doc """
  Changes options while it runs; they hold until the instance ends. Raises `ArgumentError` on a bad one.

      :ok = Kantoku.Degradation.configure(MyApp.Agents, max_level: 0)
  """
  @spec configure(instance :: atom, keyword) :: :ok | {:error, Error.t()}
  def configure(instance, changes) do
    _ = Config.change!(Config.new!([]), changes)

    Instances.reading(instance, fn _rows, book ->
      case Notes.watch(book) do
        nil ->
          absent(instance)

        watch ->
          instance |> ask(watch, {:configure, changes}) |> Telemetry.options_changed(instance, :degradation, changes)
      end
    end)
  end

  defp ask(instance, watch, request) do
    GenServer.call(watch, request, :infinity)
  catch
    :exit, _gone -> {:error, Error.new(:restarting, degradation: instance, retry_in: 50)}
  end

  defp absent(instance), do: {:error, Error.new(:not_found, degradation: instance)}

  @doc "What a level sheds."
  @spec sheds(level) :: [shed]
  def sheds(level), do: Enum.take([:sampling, :background, :low_priority], level)

  @doc false
  @spec sheds?(atom, shed) :: boolean
  def sheds?(instance, shed) do
    case Instances.tables(instance) do
      {:ok, {_rows, book}} -> Notes.sheds?(book, shed)
      {:error, _not_running} -> false
    end
  rescue
    # The tables went with the instance.
    ArgumentError -> false
  end
end
