defmodule Kantoku.Health.Supervisor do
  # Holds the board and who is at risk, so that they outlive who writes them, and never gives up. An instance without health has it with nothing in it.
  # Knows no agent.
  @moduledoc false
  use Supervisor

  alias Kantoku.Domain.Pair
  alias Kantoku.Health.{Board, Lookout, Prober, Risks, Rounds}
  alias Kantoku.{Engine, Instances, Resources}

  @spec start_link(atom) :: Supervisor.on_start()
  def start_link(instance), do: Supervisor.start_link(__MODULE__, instance)

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)
    children = if Board.wanted?(book), do: children({instance, new_tables(instance, book)}), else: []
    Supervisor.init(children, [strategy: :rest_for_one] ++ Pair.unlimited())
  end

  defp new_tables(instance, book) do
    # A predecessor's board named the nodes, and went with it.
    _ok_or_unknown = Engine.Health.health_clear(instance)
    Risks.new_table(book)
    _board_or_none = Resources.Board.new_table(book)
    Board.new_table(book)
  end

  # Who makes the rounds tells the prober whom to ask, and tells a new one of all: hence :rest_for_one.
  defp children(argument), do: [{Prober, argument}, {Rounds, argument}, {Lookout, argument}]
end
