defmodule Kantoku.Migration.Placed do
  # The start function of agents below an old supervisor: their own, and a word of where they are. So a restart by that supervisor is
  # known, and its shadow asked what ours would have done.
  @moduledoc false

  alias Kantoku.Domain.{Book, Ledger}
  alias Kantoku.{Engine, Instances}
  alias Kantoku.Migration.{Journal, Roster, Settings}

  @doc "Starts a process that `by` has asked for. One that has moved since, or whose move was taken back, is not started (again)."
  @spec start(Roster.key(), by :: pid, mfa) :: Supervisor.on_start() when mfa: {module, atom, [term]}
  def start(key, by, {module, function, args}) do
    row = Roster.fetch(key)

    if leaving?(row) or withdrawn?(row, by),
      do: :ignore,
      else: tell(apply(module, function, args), key, by, row)
  end

  defp leaving?({_key, {:moving, :old, _mover, frozen, _names}, _pid, _origin, _ledger, _stays}), do: frozen != nil
  defp leaving?(_row), do: false

  # Of another move than the one that goes on; or there is none, and it is on our side.
  defp withdrawn?({_key, :new, _pid, _origin, _ledger, _stays}, _by), do: true

  defp withdrawn?({_key, {:moving, _side, mover, _frozen, _names}, _pid, _origin, _ledger, _stays} = row, by),
    do: mover != by and not leaving?(row)

  defp withdrawn?(_row, _by), do: false

  defp tell(answer, _key, _by, nil), do: answer
  defp tell({:ok, pid} = answer, key, by, row), do: here(answer, pid, key, by, charged(key, row))
  defp tell({:ok, pid, _info} = answer, key, by, row), do: here(answer, pid, key, by, charged(key, row))
  defp tell(other, _key, _by, _row), do: other

  # The move that it was started for may have been taken back meanwhile, and may be until the very moment its row says where it is.
  defp here(answer, pid, {instance, subject, id} = key, by, ledger) do
    row = Roster.fetch(key)

    cond do
      row == nil or withdrawn?(row, by) ->
        unwanted(pid)

      Roster.put_pid(row, pid, ledger) ->
        named(instance, subject, id, pid)
        answer

      true ->
        here(answer, pid, key, by, ledger)
    end
  end

  defp unwanted(pid) do
    Process.unlink(pid)
    Process.exit(pid, :kill)
    :ignore
  end

  defp charged({instance, subject, id}, {_key, _place, before, origin, ledger, _stays}),
    do: {charge(before, instance, subject, id, origin, ledger), now()}

  # What ours would have done ----------------------------------------------------------------------------------------------

  defp charge(nil, _instance, _subject, _id, _origin, _ledger), do: nil

  defp charge(_before, instance, subject, id, origin, ledger) do
    if Settings.gate(instance, :supervision, subject) == :shadow,
      do: compare(policy(instance, origin), {instance, :supervision, subject}, id, ledger)
  end

  # Its first crash since it came from our side.
  defp compare(policy, journal, id, nil), do: compare(policy, journal, id, {nil, now()})

  defp compare({:ok, policy}, journal, id, {charged, since}) do
    {decision, ledger} = Ledger.charge(charged, now(), now() - since, policy, :rand.uniform())
    Journal.compare(journal, id, ours(decision), :restart)
    ledger
  end

  defp compare(_no_policy, _journal, _id, _ledger), do: nil

  defp ours({:start, 0}), do: :restart
  defp ours({:start, delay}), do: {:back_off, delay}
  defp ours({:park, delay}), do: {:park, delay}

  defp policy(instance, origin) do
    domain = Keyword.get(origin.agent, :domain, :default)

    Instances.reading(instance, fn _rows, book ->
      if Book.entrance(book, domain), do: {:ok, Book.policy(book, domain)}
    end)
  end

  # Our registry --------------------------------------------------------------------------------------------------------------

  @doc "Has our registry know an agent of the old side, unless the feature is off."
  @spec named(atom, term, term, pid) :: :ok
  def named(instance, subject, id, pid) do
    if Settings.gate(instance, :registry, subject) == :off,
      do: Engine.disclaim(instance, id, pid),
      else: Engine.claim(instance, id, pid, nil)

    :ok
  end

  defp now, do: System.monotonic_time(:millisecond)
end
