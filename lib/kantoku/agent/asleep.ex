defmodule Kantoku.Agent.Asleep do
  # What a server holds of an agent that has had no message for a while: a tuple in place of a `Holding`, nothing for the Logger, and its
  # ancestors once for all of them. That is 120 bytes less of each idle agent. Knows no store and no message.
  @moduledoc false

  alias Kantoku.Agent.{Config, Holding, Literals}
  alias Kantoku.Trace.Metadata

  # `:told` if the Logger was told more about the process than that it is this agent: then it keeps that.
  @type t ::
          {:untold | :told, Config.t(), id :: term, incarnation :: pos_integer, vsn :: term, pulse :: term,
           Kantoku.Agent.t(), revision :: non_neg_integer}

  @doc "Packs what is held, in the agent's own process. An agent with something pending stays as it is."
  @spec lie_down(Holding.t()) :: t | Holding.t()
  def lie_down(%Holding{pending: nil, config: config, id: id} = holding) do
    told = if Metadata.unsay(config.instance, id), do: :untold, else: :told
    # As `:proc_lib` has put them there.
    Process.put(:"$ancestors", Literals.shared(:ancestors, Process.get(:"$ancestors")))
    {told, config, id, holding.incarnation, holding.vsn, holding.pulse, holding.agent, holding.revision}
  end

  def lie_down(holding), do: holding

  @doc "Unpacks it, in the agent's own process, which goes on."
  @spec wake(t) :: Holding.t()
  def wake({told, config, id, _, _, _, _, _} = asleep) do
    if told == :untold, do: Metadata.agent(config.instance, id)
    holding(asleep)
  end

  @doc "What is held, to be looked at."
  @spec holding(t) :: Holding.t()
  def holding({_told, config, id, incarnation, vsn, pulse, agent, revision}),
    do: %{Holding.new(config, id, incarnation) | vsn: vsn, pulse: pulse, agent: agent, revision: revision}
end
