Code.require_file("domain_commands.exs", __DIR__)

defmodule Kantoku.DomainStatemTest do
  use ExUnit.Case, async: true

  alias Kantoku.{DomainCommands, DomainModel, EachEngine, Statem}

  @moduletag :property
  # Of what is killed on purpose nothing is reported; a failure says what matters.
  @moduletag capture_log: [level: :emergency]
  @moduletag timeout: 600_000

  for engine <- EachEngine.engines() do
    test "on the #{engine} engine, agents are as the model has them after each command and each kill" do
      Process.put(:engine, unquote(engine))
      Statem.check("domains #{unquote(engine)} one by one", DomainCommands, :sequential, %DomainModel{}, 100)
    end
  end
end

defmodule Kantoku.DomainStatemAtOnceTest do
  use ExUnit.Case, async: true

  alias Kantoku.{DomainCommands, EachEngine, PresenceModel, Statem}

  @moduletag :property
  @moduletag capture_log: [level: :emergency]
  @moduletag timeout: 600_000

  for engine <- EachEngine.engines() do
    test "on the #{engine} engine, what two do at once amid kills could have been done in turn, and leaves all in order" do
      Process.put(:engine, unquote(engine))
      Statem.check("domains #{unquote(engine)} at once", DomainCommands, :parallel, %PresenceModel{}, 120)
    end
  end
end
