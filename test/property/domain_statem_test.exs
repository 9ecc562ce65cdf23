Code.require_file("domain_commands.exs", __DIR__)

defmodule Kantoku.DomainStatemTest do
  use ExUnit.Case, async: true

  alias Kantoku.{DomainCommands, DomainModel, EachEngine, PresenceModel, Statem}

  @moduletag :property
  # Of what is killed on purpose nothing is reported; a failure says what matters.
  @moduletag capture_log: [level: :emergency]
  @moduletag timeout: 600_000

  for engine <- EachEngine.engines() do
    test "on the #{engine} engine, agents are as the model has them after each command and each kill" do
      check("one by one", unquote(engine), :sequential, %DomainModel{}, 100)
    end

    test "on the #{engine} engine, what two do at once amid kills could have been done in turn, and leaves all in order" do
      check("at once", unquote(engine), :parallel, %PresenceModel{}, 120)
    end
  end

  defp check(kind, engine, mode, state, times) do
    Process.put(:engine, engine)
    Statem.check("domains #{engine} #{kind}", DomainCommands, mode, state, times)
  end
end
