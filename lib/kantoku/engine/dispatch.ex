defmodule Kantoku.Engine.Dispatch do
  # How `Kantoku.Engine` chooses between its two engines, written once. Knows nothing of what they keep.
  @moduledoc false

  @doc "Defines `call`: the native engine first, and what it does not know goes to the other."
  defmacro dispatch({name, _meta, args}) do
    quote do
      @doc unquote("See `c:#{name}/#{length(args)}`.")
      def unquote(name)(unquote_splicing(args)) do
        case Kantoku.Native.unquote(name)(unquote_splicing(args)) do
          :unknown -> Kantoku.Engine.Elixir.unquote(name)(unquote_splicing(args))
          answer -> answer
        end
      end
    end
  end
end
