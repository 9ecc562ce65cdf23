Code.require_file("registry_commands.exs", __DIR__)

defmodule Kantoku.RegistryStatemTest do
  use ExUnit.Case, async: true

  alias Kantoku.{EachEngine, RegistryCommands, RegistryModel, Statem}

  @moduletag :property
  # Of what is killed on purpose nothing is reported; a failure says what matters.
  @moduletag capture_log: [level: :emergency]
  @moduletag timeout: 600_000

  for engine <- EachEngine.engines() do
    for {keys, resolver} <- [unique: :keep, unique: :replace, unique: :higher, duplicate: :keep] do
      test "on the #{engine} engine, #{keys} keys (#{resolver}) are as the model has them, one command after another" do
        check(
          "one by one",
          unquote(engine),
          :sequential,
          RegistryModel.new(unquote(keys), unquote(resolver), 3, false),
          60
        )
      end
    end

    for {keys, resolver} <- [unique: :keep, unique: :replace, duplicate: :keep] do
      test "on the #{engine} engine, what two do at once with #{keys} keys (#{resolver}) could have been done in turn" do
        check("at once", unquote(engine), :parallel, RegistryModel.new(unquote(keys), unquote(resolver), 3, true), 40)
      end
    end
  end

  defp check(kind, engine, mode, state, times) do
    Process.put(:engine, engine)
    name = "registry #{engine} #{state.keys} #{state.resolver} #{kind}"
    Statem.check(name, RegistryCommands, mode, state, times)
  end
end
