defmodule Kantoku.EachEngine do
  @moduledoc """
  Writes a suite once and runs it on each engine that is here.

      each_engine Kantoku.RegistryTest do
        test "...", %{engine: engine} do ... end
      end

  defines `Kantoku.RegistryTest.Elixir`'s and `Kantoku.RegistryTest.Native`'s tests; in them `@engine` is the engine. Beside all others unless it
  says `async: false`.
  """

  alias Kantoku.Engine

  @doc "The engines that are here: the native one only with its library."
  @spec engines() :: [Kantoku.Engine.kind()]
  def engines, do: if(Kantoku.Native.loaded?(), do: [:native, :elixir], else: [:elixir])

  @doc "Runs `fun` with two instances that only engines know, the native one's and the other's, named after `name`."
  @spec with_both(atom, ([instance :: atom, ...] -> result)) :: result when result: term
  def with_both(name, fun) do
    instances = for engine <- [:native, :elixir], do: open(:"#{name}_#{engine}", engine)

    try do
      fun.(instances)
    after
      Enum.each(instances, &Engine.close/1)
    end
  end

  defp open(instance, engine) do
    :ok = Engine.open(instance, :unique, 1, [], engine)
    instance
  end

  defmacro each_engine(name, opts \\ [], do: block) do
    for engine <- engines() do
      module = Module.concat(Macro.expand(name, __CALLER__), "#{Macro.camelize("#{engine}")}Engine")

      quote do
        defmodule unquote(module) do
          use ExUnit.Case, async: Keyword.get(unquote(opts), :async, true)
          @engine unquote(engine)
          @moduletag engine: @engine
          unquote(block)
        end
      end
    end
  end
end
