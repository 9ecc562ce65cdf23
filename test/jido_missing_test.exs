if not Kantoku.Jido.compiled?() do
  defmodule Kantoku.JidoMissingTest do
    # Makes up a module of Jido's for a moment, which others must not see.
    use Kantoku.InstanceCase, async: false

    defp refusal(instance) do
      assert_raise(ArgumentError, fn -> Kantoku.start_agent(instance, {Kantoku.Jido, Some.Agent, []}, id: "a") end).message
    end

    test "without Jido a start says how to get it" do
      assert refusal(start!()) =~ ~s(Jido is not there; add {:jido, "~> 2.3"} to the deps)
    end

    test "with a Jido that came after Kantoku was compiled it says how to mend that" do
      Code.compile_string("defmodule Jido.AgentServer do end")
      assert refusal(start!()) =~ "compile it again with: mix deps.compile kantoku --force"
    after
      :code.purge(Jido.AgentServer)
      :code.delete(Jido.AgentServer)
      :code.purge(Jido.AgentServer)
    end

    test "nothing of the adapter but that is compiled" do
      {:ok, modules} = :application.get_key(:kantoku, :modules)
      assert for(module <- modules, match?(["Kantoku", "Jido" | _], Module.split(module)), do: module) == [Kantoku.Jido]
    end
  end
end
