defmodule Kantoku.Migration.Lookup do
  # Look-ups by either registry. Runs in the caller.
  @moduledoc false

  alias Kantoku.Migration.{Account, Journal, Mode, Old, Settings, Supervision}

  @doc "See `Kantoku.Migration.whereis/3`."
  @spec whereis(Supervision.subject(), term, term) :: pid | nil
  def whereis({instance, subject}, id, old) do
    gate = Settings.gate_of_request(instance, :registry, subject)
    # One that moves has no name for a moment.
    placed = Supervision.whereis({instance, subject, id})

    case gate do
      :off ->
        theirs(old, id) || placed

      :shadow ->
        compared({instance, :registry, subject}, id, theirs(old, id) || placed)

      gate ->
        sided(gate, Mode.side(gate, subject, id), instance, id, old, placed)
    end
  end

  defp sided(gate, side, instance, id, old, placed),
    do: Account.run(gate, side, fn -> on(side, instance, id, old, placed) end, &is_nil/1)

  defp on(:old, _instance, id, old, placed), do: theirs(old, id) || placed
  defp on(:new, instance, id, _old, placed), do: Kantoku.whereis(instance, id) || placed

  defp theirs(nil, _id), do: nil
  defp theirs(old, id), do: Old.whereis(old, id)

  defp compared({instance, _feature, _subject} = journal, id, theirs) do
    Journal.compare(journal, id, Kantoku.whereis(instance, id), theirs)
    theirs
  end
end
