defmodule Kantoku.Resources.Traffic do
  @moduledoc false
  # Looks at what ports carry, and whose they are: each second, and when somebody asks, while an instance has its agents looked at. Goes over what
  # is open, of which there is little, and not over agents. What it finds is in `Carried`; its death costs nothing of that.
  #
  # T1  Looking takes a fiftieth of a scheduler at most: after a look there is none for fifty times as long as it took. With few ports that is a
  #     few ms; who asks before that has what was found then.
  # T2  Nobody waits for a look for longer than `@patience`.
  # T3  An owner is asked whose it is if that is not known, or if a port of its carried something.
  use GenServer

  alias Kantoku.Resources.{Carried, Owners, Ports}

  @round 1_000
  @share 50
  @patience 200

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "Has it look, if it may (T1), and answers when it has."
  @spec look() :: :ok
  def look do
    GenServer.call(__MODULE__, :look, @patience)
  catch
    # It takes longer, or is being started again: what was found before serves.
    :exit, _late_or_dead -> :ok
  end

  # `due` is when the next look may be.
  @impl true
  def init(nil), do: {:ok, go_on(%{known: %{}, due: now()})}

  @impl true
  def handle_call(:look, _from, state), do: {:reply, :ok, look_if_due(state)}

  @impl true
  def handle_info(:round, state), do: {:noreply, state |> look_if_due() |> go_on()}
  def handle_info(_other, state), do: {:noreply, state}

  defp go_on(state) do
    _timer = Process.send_after(self(), :round, @round)
    state
  end

  defp look_if_due(%{due: due} = state) do
    begun = now()
    if begun < due, do: state, else: rest(begun, look(state.known))
  end

  # T1
  defp rest(begun, known) do
    ended = now()
    %{known: known, due: ended + (ended - begun) * @share}
  end

  # The sum is read first: what is carried meanwhile must not seem to be nobody's.
  defp look(known) do
    {{:input, input}, {:output, output}} = :erlang.statistics(:io)
    instances = Owners.instances()
    moves = Carried.moves(if instances == [], do: [], else: Ports.all())
    known = asked(known, moves, instances)
    Carried.note(moves, known, {input, output})
    known
  end

  # T3
  defp asked(known, moves, instances) do
    owners = MapSet.new(moves, fn {_carrier, owner, _now, _by} -> owner end)
    known = for {owner, agent} <- known, owner in owners, lives?(agent), into: %{}, do: {owner, agent}

    unknown =
      for {_carrier, owner, _now, by} <- moves, by != {0, 0} or not is_map_key(known, owner), uniq: true, do: owner

    Map.merge(known, Owners.of(unknown, instances))
  end

  defp lives?(nil), do: true
  defp lives?({_instance, _rows, _id, _domain, pid}), do: Process.alive?(pid)

  defp now, do: System.monotonic_time(:microsecond)
end
