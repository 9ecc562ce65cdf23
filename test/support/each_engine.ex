defmodule Kantoku.EachEngine do
  @moduledoc """
  Writes a suite once and runs it on each engine that is here.

      each_engine Kantoku.RegistryTest do
        test "...", %{engine: engine} do ... end
      end

  defines `Kantoku.RegistryTest.Elixir`'s and `Kantoku.RegistryTest.Native`'s tests; in them `@engine` is the engine. What not all
  engines have yet names those that do, `each_engine Kantoku.RegistryTest, [:elixir] do`.
  """

  @doc "The engines that are here: the native one only with its library."
  @spec engines() :: [Kantoku.Engine.kind()]
  def engines, do: if(Kantoku.Native.loaded?(), do: [:native, :elixir], else: [:elixir])

  defmacro each_engine(name, among \\ [:native, :elixir], do: block) do
    for engine <- engines(), engine in among do
      module = Module.concat(Macro.expand(name, __CALLER__), "#{Macro.camelize("#{engine}")}Engine")

      quote do
        defmodule unquote(module) do
          use ExUnit.Case, async: true
          @engine unquote(engine)
          @moduletag engine: @engine
          unquote(block)
        end
      end
    end
  end
end
