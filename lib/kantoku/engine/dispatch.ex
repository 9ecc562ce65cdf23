defmodule Kantoku.Engine.Dispatch do
  # How a boundary chooses between the two engines, written once. Knows nothing of what they keep.
  @moduledoc false

  @doc "Defines `call`: the native engine first, and what it does not know goes to the other."
  defmacro dispatch({name, _meta, args}) do
    quote do
      @doc unquote("See `c:#{name}/#{length(args)}`.")
      def unquote(name)(unquote_splicing(args)), do: unquote(ask(engines(__CALLER__.module), name, args))
    end
  end

  # In the order in which they are asked. Pools are kept by one.
  defp engines(Kantoku.Engine.Pools), do: [Kantoku.Engine.Elixir]
  defp engines(_boundary), do: [Kantoku.Native, Kantoku.Engine.Elixir]

  defp ask([last], name, args), do: quote(do: unquote(last).unquote(name)(unquote_splicing(args)))

  defp ask([engine | others], name, args) do
    quote do
      case unquote(engine).unquote(name)(unquote_splicing(args)) do
        :unknown -> unquote(ask(others, name, args))
        answer -> answer
      end
    end
  end
end
