defmodule Kantoku.Agent.Adapter do
  @moduledoc """
  Makes agents of another library startable by `Kantoku.start_agent/3`, as a tuple that begins with the adapter's module.

  An adapter says once how such an agent becomes an OTP child; everything else (domain, restarts, name, entry, drain) is then the
  same for it as for any agent.

      defmodule MyApp.Bot do
        @behaviour Kantoku.Agent.Adapter

        @impl true
        def child(_instance, id, {__MODULE__, room}, _opts) do
          %{id: id, start: {Agent, :start_link, [fn -> room end]}}
        end
      end

      Kantoku.start_agent(MyApp.Agents, {MyApp.Bot, "lobby"}, id: "bot-1")
  """

  @doc """
  The child spec of an agent. `spec` is the tuple as it was given, `opts` the options that Kantoku itself has no use for. Runs in the
  process that calls `Kantoku.start_agent/3`; a bad argument should raise `ArgumentError` here.
  """
  @callback child(instance :: atom, id :: term, spec :: tuple, opts :: keyword) :: Supervisor.child_spec()
end
