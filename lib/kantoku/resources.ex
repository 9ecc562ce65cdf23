defmodule Kantoku.Resources do
  @moduledoc """
  What agents use of the machine, and what the VM does: memory, work, mailboxes, binaries, input and output.

      {:ok, [%{id: "planner-7", memory: bytes} | _]} = Kantoku.Resources.top(MyApp.Agents, :memory, 5)
      {:ok, %{domains: %{tools: %{agents: 12, reductions: a_second}}}} = Kantoku.Resources.sums(MyApp.Agents)
      IO.puts(Kantoku.Resources.report(MyApp.Agents))

  All agents are looked at in turn, by who looks ahead for their health (`Kantoku.Health`): some 5,000 in a period of that
  (`health: [period: 10_000]`), in slices, with pauses between them. So a figure is as old as one period, and of 100,000 agents as 20; `at` and `age`
  say how old. Looking wakes nobody, and costs who is looked at nothing. With `health: false` nobody is looked at.

  | figure | unit | what |
  |---|---|---|
  | `memory` | bytes | set aside for the heaps of the agent's process |
  | `heap` | bytes | of that in use |
  | `binaries` | bytes | large binaries that it is known to hold; one that several hold is counted at each |
  | `mailbox` | messages | that wait; what waits inside an agent, or for its pool, is not among them |
  | `reductions` | a second | its work since the look before, `nil` at the first |

  The option `:resources` of an instance says how many of the first are kept, `[top: 100]`, or `false`: agents are looked at for their health
  alone. What is kept of an agent that is not among them are 72 bytes, as a rate needs two looks.

  Functions answer `{:error, %Kantoku.Error{}}` with `:not_running`, or `:not_found` where resources or health are off.
  """

  alias Kantoku.Error
  alias Kantoku.Resources.{Board, Carried, Census, Close, Families, Report, Schedulers, Traffic, VM}

  @typedoc "What agents can be put in order by."
  @type kind :: Census.kind()

  @typedoc "An agent among the first; `age` in ms."
  @type entry :: %{
          id: term,
          domain: Kantoku.Domain.name(),
          pid: pid,
          memory: non_neg_integer,
          heap: non_neg_integer,
          binaries: non_neg_integer,
          mailbox: non_neg_integer,
          reductions: non_neg_integer | nil,
          age: non_neg_integer
        }

  @typedoc """
  Bytes that came in and went out, through ports that are closed again as well; `ports` are those that are open, sockets of `:socket` included.
  """
  @type io :: Carried.io()

  @typedoc """
  A metric with its series, in the shape of Prometheus: base units, the name without `_total`.
  """
  @type family :: %{
          name: String.t(),
          help: String.t(),
          unit: String.t() | nil,
          kind: :counter | :gauge,
          series: [%{labels: %{String.t() => String.t()}, value: float}]
        }

  @doc """
  The `k` agents that use most, most first. They are kept in that order, so this costs as much as `k` look-ups, however many agents there
  are; of more than `[top: k]` none are kept. Who ended since is left out.
  """
  @spec top(instance :: atom, kind, k :: pos_integer) :: {:ok, [entry]} | {:error, Error.t()}
  def top(instance, by, k \\ 10) when is_integer(k) and k > 0 do
    by in Census.kinds() ||
      raise ArgumentError, "expected one of #{inspect(Census.kinds())}, got: #{inspect(by)}"

    reading(instance, fn board -> {:ok, board |> Board.top(by, k) |> Enum.map(&aged/1)} end)
  end

  defp aged(%{at: at} = entry), do: entry |> Map.delete(:at) |> Map.put(:age, now() - at)

  @doc """
  Sums by domain and by pool, of `:all`, and of `:others`: processes of this VM that are none of the instance's agents, with all that is not heap.

  They are those of the last time that everybody was looked at, `age` ms ago (`nil`: that has not been yet). `io` are the bytes that agents took in
  and gave out since the instance was started, by domain (`{:pool, name}` of workers), of those that have: also of agents that are gone (`io/1`).

      {:ok, %{all: %{agents: 100, memory: bytes}, others: %{processes: 70, memory: _}}} = Kantoku.Resources.sums(MyApp.Agents)
  """
  @spec sums(instance :: atom) ::
          {:ok,
           %{
             domains: %{Kantoku.Domain.name() => Census.sums()},
             pools: %{term => Census.sums()},
             all: Census.sums(),
             others: %{processes: non_neg_integer, memory: non_neg_integer},
             io: %{Kantoku.Domain.name() => %{input: non_neg_integer, output: non_neg_integer}},
             age: non_neg_integer | nil
           }}
          | {:error, Error.t()}
  def sums(instance) do
    reading(instance, fn board ->
      {sums, at} = Board.sums(board) || {%{}, nil}
      {:ok, sums |> split() |> Map.merge(%{age: at && now() - at, io: Carried.by_places(instance)})}
    end)
  end

  defp split(sums) do
    {pools, domains} = Enum.split_with(sums, &match?({{:pool, _name}, _sums}, &1))
    all = sums |> Map.values() |> Enum.reduce(Census.nothing(), &Census.add/2)
    pools = Map.new(pools, fn {{:pool, name}, sums} -> {name, sums} end)
    %{domains: Map.new(domains), pools: pools, all: all, others: others(all)}
  end

  defp others(%{agents: agents, memory: memory}) do
    processes = max(:erlang.system_info(:process_count) - agents, 0)
    %{processes: processes, memory: max(:erlang.memory(:processes) - memory, 0)}
  end

  @doc """
  What one agent uses now. Beside the figures above, `process` (bytes, with all that the VM keeps for it), `references` (how many large
  binaries it holds) and `io` (`t:io/0`, as `io/1` has it). Where resources or health are off, `reductions` and `io` are `nil`. Who runs
  without a pause may be slow to answer: `:timeout` after so many ms.
  """
  @spec of(instance :: atom, id :: term, timeout :: pos_integer) :: {:ok, map} | {:error, Error.t()}
  def of(instance, id, timeout \\ 1_000) do
    with {:ok, pid} <- Kantoku.fetch(instance, id),
         board = Board.reading(instance, & &1),
         do: Close.look({instance, id}, pid, if(is_reference(board), do: board), timeout)
  end

  @doc """
  Bytes in and out through ports (sockets of `:gen_tcp` and `:gen_udp`, files of drivers, programs) and sockets of OTP's `:socket`, by agent
  that lives and has, or had, any: those that the agent's process owns, or a process that is linked to it and to no other agent. All else
  that the VM carried is `unattributed`: through ports of processes that several agents share, or none.

  Ports are looked at each second, and now, but for no more than a fiftieth of one scheduler's time: with some 10,000 that are open, these are the
  figures of some seconds ago. What a port carried since the look before belongs to whose it is at this one, and stays there when it is closed.
  What was opened and closed between two looks is unattributed; of `:socket`, of which the VM has no sum, it is nowhere.

  Who owns a port and is no agent is asked for its links; while one that has not been asked before runs without a pause, what it carries is
  unattributed, and put down to whom it belongs when it has answered.
  """
  @spec io(instance :: atom) :: {:ok, %{agents: [%{id: term, io: io}], unattributed: io}} | {:error, Error.t()}
  def io(instance) do
    reading(instance, fn _board ->
      Traffic.look()
      {:ok, %{agents: Carried.by_agents(instance), unattributed: Carried.nobodys()}}
    end)
  end

  @doc """
  What the VM uses and does: memory by kind, processes, ports, atoms and tables with their limits, open tables of DETS (`dets`), run queues, input and output of ports
  (`io`; of that `unattributed` is what is no agent's, of whatever instance, as of the last second) and by node of the distribution, and of the operating
  system's process its processor time and resident memory (`os`; `nil` but on Linux).

  `schedulers.utilization` is how busy schedulers are, from 0 to 1, in the last second that was measured; `dirty_cpu_utilization` and
  `dirty_io_utilization` are the same of dirty ones. They are `nil` while that is not measured (`measure_schedulers/1`).
  """
  @spec vm() :: VM.t()
  def vm, do: VM.read(&Schedulers.utilization/1, Carried.nobodys())

  @doc """
  Turns the measuring of schedulers on (`true`) or off (`false`), for the VM, until it is told otherwise. With `:auto`, the default, it is on while
  an instance wants something exported (`http:` or `exporters:`). On, each time that a scheduler turns to another process, or to rest, costs it a
  reading of the clock (`:erlang.system_flag(:scheduler_wall_time, _)`). Whoever else has it on keeps it on.
  """
  @spec measure_schedulers(boolean | :auto) :: :ok
  def measure_schedulers(wish) when wish in [true, false, :auto], do: Schedulers.measure(wish)

  @doc """
  All of it as metrics: the VM's under the names of prometheus.erl 6 (`erlang_vm_memory_bytes` and so on) and those of Prometheus' own clients
  (`process_cpu_seconds`), an instance's by domain and pool (`kantoku_agents_memory_bytes`). No agent's id is a label, and beyond 100 domains
  those with least memory are one, `other`.
  """
  @spec families(instance :: atom) :: {:ok, [family]} | {:error, Error.t()}
  def families(instance) do
    with {:ok, sums} <- sums(instance), do: {:ok, Families.of_vm(vm()) ++ Families.of_instance(instance, sums)}
  end

  @doc "A table for people: the VM, domains and pools, and the first `k` of each kind. `mix kantoku.resources` prints it."
  @spec report(instance :: atom, k :: pos_integer) :: String.t() | {:error, Error.t()}
  def report(instance, k \\ 5) do
    with {:ok, sums} <- sums(instance) do
      tops = for kind <- Census.kinds(), {:ok, entries} <- [top(instance, kind, k)], do: {kind, entries}
      Report.text(instance, vm(), sums, tops)
    end
  end

  defp reading(instance, fun) do
    case Board.reading(instance, fun) do
      nil -> {:error, Error.new(:not_found, resources: instance)}
      answer -> answer
    end
  end

  defp now, do: System.monotonic_time(:millisecond)
end
