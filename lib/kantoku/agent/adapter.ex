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

  @typedoc """
  What the start function of an informed agent is given behind its other arguments: whose agent it is, which incarnation, whether
  this is its first start and no restart, and the options that the instance has for its agents.
  """
  @type context :: %{
          instance: atom,
          id: term,
          incarnation: pos_integer,
          first: boolean,
          options: Kantoku.Agent.Options.t()
        }

  @typedoc """
  A child spec. With the key `:kantoku` the agent is an *informed* one: its start function takes a `t:context/0` as its last argument,
  and its process answers what `Kantoku.Agent.Server` answers besides actions (`Kantoku.Agent.Server.state/2`, `info/2`, `snapshot/2` and
  `settle/2`). `module` is what it is for people, events and the `type` of its entry; `entry` says its tags, capabilities and metadata
  where who starts it does not.
  """
  @type child ::
          Supervisor.child_spec()
          | %{
              required(:start) => {module, atom, [term]},
              required(:kantoku) => %{required(:module) => module, optional(:entry) => map},
              optional(atom) => term
            }

  @doc """
  The child spec of an agent. `spec` is the tuple as it was given, `opts` the options that Kantoku itself has no use for. Runs in the
  process that calls `Kantoku.start_agent/3`; a bad argument should raise `ArgumentError` here. `instance` is `nil` where options are
  checked before an instance runs.
  """
  @callback child(instance :: atom, id :: term, spec :: tuple, opts :: keyword) :: child
end
