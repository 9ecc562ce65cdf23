defmodule Kantoku.DomainModel do
  @moduledoc """
  What becomes of agents, one command after another, as a pure function.

  The policies leave nothing to chance: in `:hasty` a restart is at once and the third crash parks; in `:patient` the second
  crash in a row makes an agent rest for longer than any test.
  """

  @hasty [backoff: [base: 1, cap: 1], budget: [crashes: 2, within: 1_000_000], unpark: :never]
  @patient [backoff: [base: 1_000_000_000, cap: 1_000_000_000, reset_after: 1_000_000], budget: [crashes: :infinity]]

  @declared [:d1, :d2]
  @dynamic [:a, :b, :c]

  defstruct agents:
              Map.new(@declared, &{&1, %{domain: :hasty, restart: :permanent, status: :up, crashes: 0, restarts: 0}})

  @type agent :: %{domain: atom, restart: atom, status: atom, crashes: non_neg_integer, restarts: non_neg_integer}
  @type t :: %__MODULE__{agents: %{atom => agent}}

  def declared, do: @declared
  def dynamic, do: @dynamic

  @doc "The options of the two domains."
  def policies, do: [hasty: @hasty, patient: @patient]

  @doc "What a command may answer, and the state after it."
  @spec outcomes(t, tuple) :: [{term, t}]
  def outcomes(state, {:start, id, domain, restart}) do
    case state.agents[id] do
      %{status: status} when status in [:restarting, :parked] -> [{status, state}]
      %{status: :up} -> [{:already_started, state}]
      %{status: :stopped} -> [{:up, clean(state, id)}]
      _none_or_ended -> [{:up, put(state, id, new(domain, restart))}]
    end
  end

  def outcomes(state, {:stop, id}) do
    case state.agents[id] do
      %{status: :ended} -> [{:ok, drop(state, id)}, {:not_found, drop(state, id)}]
      %{status: :stopped} -> [{:not_found, state}]
      nil -> [{:not_found, state}]
      agent when id in @declared -> [{:ok, put(state, id, %{agent | status: :stopped})}]
      _agent -> [{:ok, drop(state, id)}]
    end
  end

  # The row of an agent that has ended is there until it is swept; who is quick enough has it back.
  def outcomes(state, {:restart, id}) do
    case state.agents[id] do
      nil -> [{:not_found, state}]
      %{status: :ended} -> [{:up, clean(state, id)}, {:not_found, drop(state, id)}]
      _agent -> [{:up, clean(state, id)}]
    end
  end

  def outcomes(state, {:unpark, id}) do
    case state.agents[id] do
      nil -> [{:not_found, state}]
      %{status: :ended} -> [{:not_parked, state}, {:not_found, drop(state, id)}]
      %{status: status} when status in [:restarting, :parked] -> [{:ok, clean(state, id)}]
      _agent -> [{:not_parked, state}]
    end
  end

  def outcomes(state, {:kill, id}), do: [{:ok, if_up(state, id, &crash(&1, &2, state.agents[id].restart))}]

  # A permanent agent that ends by itself has crashed, whatever it says.
  def outcomes(state, {:finish, id}) do
    [
      {:ok,
       if_up(
         state,
         id,
         &if(state.agents[id].restart == :permanent, do: crash(&1, &2, :permanent), else: finish(&1, &2))
       )}
    ]
  end

  # As in OTP, a temporary agent ends with its supervisor; the others are back, and nothing is charged.
  def outcomes(state, {:kill_all, domain, _what}) do
    ended = for {id, %{domain: ^domain, restart: :temporary, status: :up}} <- state.agents, do: id
    [{:ok, Enum.reduce(ended, swept(state), &drop(&2, &1))}]
  end

  def outcomes(state, {:kill_keeper, _domain}), do: [{:ok, state}]
  def outcomes(state, {:kill_resting, _id}), do: [{:ok, state}]

  defp new(domain, restart), do: %{domain: domain, restart: restart, status: :up, crashes: 0, restarts: 0}

  defp if_up(state, id, fun) do
    if match?(%{status: :up}, state.agents[id]), do: fun.(state, id), else: state
  end

  defp crash(state, id, :temporary), do: finish(state, id)

  defp crash(state, id, _restart) do
    %{crashes: crashes, restarts: restarts, domain: domain} = agent = state.agents[id]
    put(state, id, %{agent | crashes: crashes + 1, restarts: restarts + 1, status: after_crash(domain, crashes + 1)})
  end

  defp after_crash(:hasty, crashes) when crashes > 2, do: :parked
  defp after_crash(:patient, crashes) when crashes > 1, do: :restarting
  defp after_crash(_domain, _crashes), do: :up

  defp finish(state, id), do: put(state, id, %{state.agents[id] | status: :ended})
  defp clean(state, id), do: put(state, id, %{state.agents[id] | status: :up, crashes: 0})
  defp put(state, id, agent), do: %{state | agents: Map.put(state.agents, id, agent)}
  defp drop(state, id), do: %{state | agents: Map.delete(state.agents, id)}

  @doc "Without those of whom only the row was left."
  def swept(state), do: %{state | agents: Map.reject(state.agents, fn {_id, agent} -> agent.status == :ended end)}
end

defmodule Kantoku.PresenceModel do
  @moduledoc """
  What two processes at once can be sure of: which agents there are. How they are depends on who was killed when.
  """

  alias Kantoku.DomainModel

  defstruct present: MapSet.new(DomainModel.declared())

  @type t :: %__MODULE__{present: MapSet.t()}

  @doc "What a command may answer, and the state after it. Who meets another at work may fail, and has then changed nothing."
  @spec outcomes(t, tuple) :: [{term, t}]
  def outcomes(state, {:start, id, _domain, _restart}) do
    if id in state.present,
      do: [{:taken, state}, {:failed, state}],
      else: [{:ok, with_id(state, id)}, {:failed, state}, {:taken, with_id(state, id)}]
  end

  # Of two who stop the same, both see it go.
  def outcomes(state, {:stop, id}) do
    if id in state.present,
      do: [{:ok, without_id(state, id)}],
      else: [{:not_found, state}, {:ok, state}]
  end

  # Cut short before it said that the agent is not wanted, or after.
  def outcomes(state, {:stop_cut_short, id}), do: [{:ok, state}, {:ok, without_id(state, id)}]

  # What was declared and stopped is started by that.
  def outcomes(state, {:restart, id}) do
    cond do
      id in state.present -> [{:ok, state}, {:failed, state}]
      id in DomainModel.declared() -> [{:ok, with_id(state, id)}, {:failed, state}, {:failed, with_id(state, id)}]
      true -> [{:not_found, state}, {:failed, state}]
    end
  end

  def outcomes(state, {:unpark, id}) do
    if id in state.present,
      do: [{:not_parked, state}, {:ok, state}],
      else: [{:not_found, state}, {:not_parked, state}, {:ok, state}]
  end

  def outcomes(state, _kill), do: [{:ok, state}]

  defp with_id(state, id), do: %{state | present: MapSet.put(state.present, id)}
  defp without_id(state, id), do: %{state | present: MapSet.delete(state.present, id)}
end
