defmodule Kantoku.Migration.Placed do
  # The start function of agents below an old supervisor: their own, and a word of where they are. So a restart by that supervisor is
  # known, and its shadow asked what ours would have done.
  @moduledoc false

  alias Kantoku.Domain.{Book, Ledger}
  alias Kantoku.{Engine, Instances}
  alias Kantoku.Migration.{Journal, Roster, Settings}

  @doc "Starts a process. One that has moved since is not started again."
  @spec start(Roster.key(), mfa) :: Supervisor.on_start() when mfa: {module, atom, [term]}
  def start(key, {module, function, args}) do
    case Roster.fetch(key) do
      {_key, :new, _pid, _origin, _ledger, _stays} -> :ignore
      {_key, {:moving, :old, _by, frozen, _names}, _pid, _origin, _ledger, _stays} when frozen != nil -> :ignore
      row -> tell(apply(module, function, args), key, row)
    end
  end

  defp tell(answer, _key, nil), do: answer
  defp tell({:ok, pid} = answer, key, row), do: wanted(answer, pid, key, row)
  defp tell({:ok, pid, _info} = answer, key, row), do: wanted(answer, pid, key, row)
  defp tell(other, _key, _row), do: other

  # The move that it was started for may have been taken back meanwhile.
  defp wanted(answer, pid, key, row) do
    case Roster.fetch(key) do
      {_key, :new, _pid, _origin, _ledger, _stays} ->
        Process.unlink(pid)
        Process.exit(pid, :kill)
        :ignore

      _here ->
        here(answer, pid, key, row)
    end
  end

  defp here(answer, pid, {instance, subject, id} = key, {_key, _place, before, origin, ledger, _stays}) do
    Roster.put_pid(key, pid, {charge(before, instance, subject, id, origin, ledger), now()})
    named(instance, subject, id, pid)
    answer
  end

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
