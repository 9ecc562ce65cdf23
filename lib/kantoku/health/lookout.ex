defmodule Kantoku.Health.Lookout do
  # Looks ahead: which agents' memory, mailbox, answers to probes or restarts grow towards their limits (`Outlook`, `Crashes`), and tells of
  # those (`Risks`). All agents are screened in turn (`Burden`), so many each period; only who is beyond a fraction of a
  # limit is remembered, and looked at each period. What its walk finds of all of them goes into a survey
  # (`Kantoku.Resources.Survey`), where that is wanted. It waits for no agent: who runs may be slow to answer, so others read. Knows no
  # verdict, and ends nobody but those whose pool wants them replaced early (`Renewal`).
  #
  # L1  What is kept grows with how many agents are suspicious, and not with how many there are.
  # L2  Its death loses samples only: a successor looks anew, and who was at risk is told again.
  @moduledoc false
  use GenServer
  import Kantoku.Domain.Rows

  alias Kantoku.Domain.{Book, Ledger, Rows}
  alias Kantoku.Health.{Board, Burden, Crashes, Outlook, Renewal, Risks}
  alias Kantoku.{Instances, Telemetry}
  alias Kantoku.Resources.Survey

  # Rows a slice, and agents that are screened in a period: with more, it takes several until each had its turn.
  @slice 500
  @screened 5_000

  # Readers that are held up, as what they look at runs, before no more are sent.
  @readers 16

  # An answer beyond this fraction of its probe's timeout is worth to follow that agent's answers. All answers are slower while the machine
  # is busy, so it is a large one.
  @slow 2

  @enforce_keys [:instance, :rows, :book, :board, :risks]
  defstruct @enforce_keys ++ [survey: nil, watched: %{}, walk: nil, due: nil, timer: nil, readers: MapSet.new()]

  @spec start_link({atom, :ets.tid()}) :: GenServer.on_start()
  def start_link({instance, board}), do: GenServer.start_link(__MODULE__, {instance, board})

  @doc "An agent answered a probe after so many ms."
  @spec answered(:ets.tid(), {id :: term, pid}, Kantoku.Probe.t(), non_neg_integer) :: :ok
  def answered(book, agent, %{name: name, timeout: timeout}, ms) do
    with pid when is_pid(pid) <- Book.seated(book, :health_lookout),
         do: GenServer.cast(pid, {:answered, agent, name, timeout, ms})

    :ok
  end

  @doc "The options are others: what was to come next may be an hour away."
  @spec reconsider(:ets.tid()) :: :ok
  def reconsider(book) do
    with pid when is_pid(pid) <- Book.seated(book, :health_lookout), do: GenServer.cast(pid, :reconsider)
    :ok
  end

  @impl true
  def init({instance, board}) do
    Process.flag(:trap_exit, true)
    {rows, book} = Instances.tables!(instance)
    Book.seat(book, :health_lookout, Book.next_epoch([]), self())
    risks = Risks.table(book)
    Risks.clear(risks)
    state = %__MODULE__{instance: instance, rows: rows, book: book, board: board, risks: risks}
    {:ok, schedule(%{state | survey: Survey.new(book)})}
  end

  @impl true
  def handle_info({:timeout, timer, :step}, %{timer: timer} = state),
    do: {:noreply, state |> step(limits(state)) |> schedule()}

  def handle_info({:read, reader, kind, seen}, state) do
    state = %{state | readers: MapSet.delete(state.readers, reader)}
    {:noreply, heard(kind, seen, state)}
  end

  # A reader that failed, or the supervisor.
  def handle_info({:EXIT, pid, reason}, state) do
    cond do
      pid in state.readers -> {:noreply, %{state | readers: MapSet.delete(state.readers, pid)}}
      reason == :normal -> {:noreply, state}
      true -> {:stop, reason, state}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def handle_cast(:reconsider, state) do
    :erlang.cancel_timer(state.timer)
    {:noreply, schedule(%{state | due: nil})}
  end

  def handle_cast({:answered, {id, pid}, probe, timeout, ms}, state) do
    known = state.watched[pid]
    sign = {:latency, probe}

    with %{horizon: horizon} <- limits(state),
         true <- ms * @slow >= timeout or (known != nil and is_map_key(known.signs, sign)),
         agent when agent != nil <- known || newly(state, id, pid) do
      # One that came is within its timeout, whatever our clock says: a single one is no trouble yet.
      {:noreply, look(state, pid, agent, [{sign, min(ms, timeout - 1), timeout}], horizon)}
    else
      _nothing_of_interest -> {:noreply, state}
    end
  end

  defp limits(%{board: board}), do: Board.config(board).at_risk

  defp newly(state, id, pid) do
    with row(pid: ^pid, domain: domain) <- Rows.get(state.rows, id), do: agent(id, domain), else: (_gone -> nil)
  end

  defp agent(id, domain), do: %{id: id, domain: domain, signs: %{}}

  # Walking ----------------------------------------------------------------------------------------------------------------

  # So many slices a period, whatever there is to be screened: what is left of the table is for the next.
  defp schedule(%{board: board} = state) do
    %{period: period} = Board.config(board)
    %{state | timer: :erlang.start_timer(max(div(period, slices(state)), 1), self(), :step)}
  end

  defp slices(%{rows: rows}), do: 1 + min(div(:ets.info(rows, :size), @slice), div(@screened, @slice) - 1)

  defp step(%{survey: nil} = state, false) do
    Risks.clear(state.risks)
    %{rest(state) | watched: %{}}
  end

  defp step(state, limits) do
    state = if state.due == nil or now() >= state.due, do: begin(state, limits), else: state
    if MapSet.size(state.readers) < @readers, do: screen(state, limits), else: state
  end

  # Once a period: those that are suspicious are looked at, and a walk that is through begins anew.
  defp begin(%{board: board} = state, limits) do
    state = follow_up(%{state | due: now() + Board.config(board).period}, limits)
    if state.walk == nil, do: %{state | walk: :first, survey: Survey.begin(state.survey)}, else: state
  end

  defp follow_up(state, false) do
    Risks.clear(state.risks)
    %{state | watched: %{}}
  end

  defp follow_up(state, limits) do
    Renewal.see_to(state.instance, state.book, state.risks)
    state |> crashed(limits) |> sight()
  end

  defp screen(%{walk: nil} = state, _limits), do: state

  defp screen(%{walk: :first, rows: rows} = state, limits) do
    :ets.safe_fixtable(rows, true)
    slice(:ets.select(rows, spec(), @slice), %{state | walk: :begun}, limits)
  end

  defp screen(%{walk: walk} = state, limits), do: slice(:ets.select(walk), state, limits)

  defp spec do
    pattern = Rows.pattern_of(id: :"$1", domain: :"$2", phase: :up, pid: :"$3", ledger: :"$4")
    [{pattern, [], [{{:"$3", :"$1", :"$2", :"$4"}}]}]
  end

  defp slice(:"$end_of_table", state, _limits), do: rest(state)

  defp slice({found, walk}, %{survey: survey} = state, limits) do
    state =
      for {pid, id, domain, ledger} <- found,
          ledger != nil and limits != false,
          reduce: state,
          do: (state -> follow(state, pid, id, domain))

    agents = for {pid, id, domain, _ledger} <- found, survey != nil or not sighted?(state, pid), do: {pid, {id, domain}}
    sighted = for {pid, _agent} <- agents, survey != nil and sighted?(state, pid), into: MapSet.new(), do: pid
    state = read(state, :screened, fn -> screened(agents, survey, sighted, limits) end)
    passed(%{state | walk: walk, survey: Survey.sent(survey)})
  end

  # What there is in one slice is not to take another step.
  defp passed(%{walk: :"$end_of_table"} = state), do: rest(state)
  defp passed(state), do: state

  defp follow(state, pid, id, domain), do: %{state | watched: Map.put_new(state.watched, pid, agent(id, domain))}

  defp rest(%{walk: walk, rows: rows} = state) do
    if walk not in [nil, :first], do: :ets.safe_fixtable(rows, false)
    %{state | walk: nil, survey: if(walk, do: Survey.ended(state.survey), else: state.survey)}
  end

  # Reading ----------------------------------------------------------------------------------------------------------------

  # Linked: what was seen is of no use to a successor.
  defp read(%{readers: readers} = state, kind, fun) do
    lookout = self()
    reader = spawn_link(fn -> send(lookout, {:read, self(), kind, fun.()}) end)
    %{state | readers: MapSet.put(readers, reader)}
  end

  # Who is sighted is judged there, and looked at here for the survey alone.
  defp screened(agents, nil, _sighted, limits) do
    burdens = for {pid, _agent} <- agents, {_bytes, _messages} = burden <- [Burden.of(pid)], do: {pid, burden}
    {nil, suspicious(burdens, Map.new(agents), limits)}
  end

  defp screened(agents, survey, sighted, limits) do
    {slice, burdens} = Survey.look(survey, agents)
    unsighted = for {pid, burden} <- burdens, pid not in sighted, do: {pid, burden}
    {slice, suspicious(unsighted, Map.new(agents), limits)}
  end

  defp suspicious(_burdens, _agents, false), do: []

  defp suspicious(burdens, agents, %{memory: bytes, mailbox: messages}) do
    for {pid, {memory, mailbox} = burden} <- burdens,
        Outlook.suspicious?(memory, bytes) or Outlook.suspicious?(mailbox, messages),
        do: {pid, Map.fetch!(agents, pid), burden}
  end

  defp sight(%{watched: watched} = state) do
    pids = for {pid, _agent} <- watched, sighted?(state, pid), do: pid
    pids |> Enum.chunk_every(@slice) |> Enum.reduce(state, &read(&2, :sighted, fn -> sighted(&1) end))
  end

  # Of whom only answers are followed is screened as the others are.
  defp sighted?(%{watched: watched}, pid) do
    case watched do
      %{^pid => %{signs: signs}} -> is_map_key(signs, :memory) or is_map_key(signs, :mailbox)
      %{} -> false
    end
  end

  defp sighted(pids), do: for(pid <- pids, do: {pid, Burden.of(pid)})

  # Judging ----------------------------------------------------------------------------------------------------------------

  defp heard(:screened, {nil, suspicious}, state), do: take_in(:screened, suspicious, limits(state), state)

  defp heard(:screened, {slice, suspicious}, state),
    do: heard(:screened, {nil, suspicious}, %{state | survey: Survey.take_in(state.survey, slice)})

  defp heard(kind, seen, state), do: take_in(kind, seen, limits(state), state)

  defp take_in(_kind, _seen, false, state), do: state

  defp take_in(:screened, seen, limits, state) do
    Enum.reduce(seen, state, fn {pid, {id, domain}, burden}, state ->
      look(state, pid, Map.get(state.watched, pid, agent(id, domain)), values(burden, limits), limits.horizon)
    end)
  end

  defp take_in(:weighed, {pid, burden}, limits, state) do
    case {state.watched, burden} do
      {%{^pid => %{signs: %{memory: outlook} = signs} = agent}, {memory, _mailbox}} ->
        outlook = Outlook.weighed(outlook, now(), memory, limits.memory)
        tell(state, pid, %{agent | signs: %{signs | memory: outlook}})

      _forgotten_or_dead ->
        state
    end
  end

  defp take_in(:sighted, seen, limits, state) do
    Enum.reduce(seen, state, fn {pid, burden}, state ->
      case {state.watched, burden} do
        {%{^pid => agent}, {_bytes, _messages}} ->
          look(state, pid, agent, values(burden, limits), limits.horizon)

        {%{^pid => agent}, nil} ->
          tell(state, pid, %{agent | signs: %{}})

        _forgotten ->
          state
      end
    end)
  end

  defp values({memory, mailbox}, limits), do: [{:memory, memory, limits.memory}, {:mailbox, mailbox, limits.mailbox}]

  defp look(state, pid, %{signs: signs} = agent, values, horizon) do
    signs = Enum.reduce(values, signs, &looked(&1, &2, horizon))
    tell(state, pid, %{agent | signs: signs})
  end

  defp looked({sign, value, limit}, signs, horizon) do
    if is_map_key(signs, sign) or suspicious?(sign, value, limit) do
      case Outlook.look(signs[sign], now(), value, limit, horizon) do
        nil -> Map.delete(signs, sign)
        outlook -> Map.put(signs, sign, doubted(sign, outlook, signs[sign]))
      end
    else
      signs
    end
  end

  defp doubted(:memory, outlook, before), do: Outlook.doubted(outlook, before)
  defp doubted(_sign, outlook, _before), do: outlook

  defp suspicious?({:latency, _probe}, _ms, _timeout), do: true
  defp suspicious?(_sign, value, limit), do: Outlook.suspicious?(value, limit)

  # Crashes are on the books, so nothing is sampled.
  defp crashed(%{watched: watched} = state, %{horizon: horizon}) do
    for {pid, agent} <- watched, reduce: state do
      state -> crashes(state, pid, agent, Rows.get(state.rows, agent.id), horizon)
    end
  end

  defp crashes(state, pid, agent, row, horizon) do
    case row do
      row(pid: ^pid, ledger: ledger) ->
        risk = Crashes.risk(Ledger.times(ledger), Book.policy(state.book, agent.domain), now(), horizon)
        rest = Map.delete(agent.signs, :restarts)
        tell(state, pid, %{agent | signs: if(risk, do: Map.put(rest, :restarts, %Outlook{risk: risk}), else: rest)})

      _gone ->
        tell(state, pid, %{agent | signs: %{}})
    end
  end

  # What is found of an agent, where all may read it; who shows no sign any more is not watched.
  defp tell(state, pid, %{id: id, domain: domain, signs: signs} = agent) do
    {state, signs} = weigh(state, pid, signs)
    agent = %{agent | signs: signs}
    found = for {sign, %{risk: risk, doubt: nil}} <- signs, risk != nil, into: %{}, do: {sign, risk}
    {new, over} = Risks.put(state.risks, {id, pid, domain}, found, now())
    for sign <- new, do: emit(state, :at_risk, agent, Map.take(found[sign], [:in]), sign, found[sign])
    for sign <- over, do: emit(state, :safe, agent, %{}, sign, %{})
    watched = if signs == %{}, do: Map.delete(state.watched, pid), else: Map.put(state.watched, pid, agent)
    %{state | watched: watched}
  end

  # It is swept once for each doubt; that is its own work, which it would have had to do.
  defp weigh(state, pid, %{memory: %{doubt: :raised} = outlook} = signs) do
    state = read(state, :weighed, fn -> swept(pid) end)
    {state, %{signs | memory: %{outlook | doubt: :asked}}}
  end

  defp weigh(state, _pid, signs), do: {state, signs}

  # One that is dead has no burden.
  defp swept(pid) do
    :erlang.garbage_collect(pid)
    {pid, Burden.of(pid)}
  end

  defp emit(%{instance: instance}, event, %{id: id, domain: domain}, measurements, sign, risk) do
    metadata = Map.merge(Map.take(risk, [:value, :limit]), %{id: id, domain: domain, sign: sign})
    Telemetry.emit(instance, [:health, event], measurements, metadata)
  end

  defp now, do: System.monotonic_time(:millisecond)
end
