defmodule Kantoku.Error do
  @moduledoc """
  Why something could not be done, for programs (`reason`, `details`) and for people (`message/1`).

  The list of reasons is closed, so that a `case` over it can be complete:

  | reason | meaning | details |
  |---|---|---|
  | `:not_running` | no instance of that name runs here | `instance` |
  | `:not_found` | nothing of that name is known | `id` or `domain` |
  | `:restarting` | it crashed and comes back by itself | `id`, `retry_in` (ms, or `:never` while it waits behind another of its group) |
  | `:parked` | it crashed too often and waits for its timer or for `Kantoku.unpark/2` | `id`, `retry_in` (ms or `:never`) |
  | `:stopping` | it is being stopped | `id` |
  | `:draining` | the instance or domain takes no new work | `instance`; when a start is refused also `domain`, `nil` for the instance |
  | `:limit` | a domain holds as many agents as it may | `domain`, `max_agents` |
  | `:timeout` | no answer in time; the work may still be going on | `id`, `timeout` (ms) |
  | `:crashed` | it ended while it worked on this call | `id`, `exit` |
  | `:start_failed` | its start function refused | `id`, `exit` |
  | `:not_parked` | there is nothing to unpark | `id` |

      iex> error = Kantoku.Error.new(:parked, id: "a", retry_in: 1_500)
      iex> {error.reason, error.details.retry_in}
      {:parked, 1_500}
      iex> Exception.message(error)
      ~s(agent "a" crashed too often and is parked; it is tried again in 1500 ms, or at once by Kantoku.unpark/2)
  """

  @type reason ::
          :not_running
          | :not_found
          | :restarting
          | :parked
          | :stopping
          | :draining
          | :limit
          | :timeout
          | :crashed
          | :start_failed
          | :not_parked

  @type t :: %__MODULE__{reason: reason, details: map}

  defexception [:reason, details: %{}]

  @doc """
  An error of a reason, with its details.

      iex> Kantoku.Error.new(:not_found, id: 7)
      %Kantoku.Error{reason: :not_found, details: %{id: 7}}
  """
  @spec new(reason, Enumerable.t()) :: t
  def new(reason, details \\ []), do: %__MODULE__{reason: reason, details: Map.new(details)}

  @impl true
  def message(%__MODULE__{reason: reason, details: details}), do: sentence(reason, details)

  defp sentence(:not_running, d),
    do: "no Kantoku instance #{show(d, :instance)} runs here; start {Kantoku, name: #{show(d, :instance)}} first"

  defp sentence(:not_found, %{domain: domain}), do: "there is no domain #{inspect(domain)} in this instance"
  defp sentence(:not_found, d), do: "there is no agent #{show(d, :id)}; start it with Kantoku.start_agent/3"

  defp sentence(:restarting, %{retry_in: :never} = d) do
    "agent #{show(d, :id)} is started again when the agent of its group that crashed is back; Kantoku.agents/1 says which that is"
  end

  defp sentence(:restarting, d),
    do: "agent #{show(d, :id)} crashed and is being restarted; try again in #{show(d, :retry_in)} ms"

  defp sentence(:parked, %{retry_in: :never} = d),
    do: "agent #{show(d, :id)} crashed too often and is parked; bring it back with Kantoku.unpark/2"

  defp sentence(:parked, d) do
    "agent #{show(d, :id)} crashed too often and is parked; it is tried again in #{show(d, :retry_in)} ms, " <>
      "or at once by Kantoku.unpark/2"
  end

  defp sentence(:stopping, d), do: "agent #{show(d, :id)} is being stopped; try again when it is gone"
  defp sentence(:draining, d), do: "#{show(d, :instance)} is draining and takes no new work; use another node"

  defp sentence(:limit, d) do
    "domain #{show(d, :domain)} holds its #{show(d, :max_agents)} agents already; stop some, or raise max_agents with " <>
      "Kantoku.Domain.update/3"
  end

  defp sentence(:timeout, d),
    do: "agent #{show(d, :id)} did not answer within #{show(d, :timeout)} ms; it may still be at work on it"

  defp sentence(:crashed, d), do: "agent #{show(d, :id)} ended during the call: #{show(d, :exit)}"
  defp sentence(:start_failed, d), do: "agent #{show(d, :id)} did not start: #{show(d, :exit)}"
  defp sentence(:not_parked, d), do: "agent #{show(d, :id)} is not parked; there is nothing to bring back"

  defp show(details, key), do: details |> Map.get(key) |> inspect()
end
