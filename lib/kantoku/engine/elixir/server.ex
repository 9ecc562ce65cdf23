defmodule Kantoku.Engine.Elixir.Server do
  # Asking a process of this engine that may be gone: what it kept is gone with it, and so unknown.
  @moduledoc false

  @spec call(GenServer.server(), term) :: term
  def call(server, request) do
    GenServer.call(server, request, :infinity)
  catch
    :exit, _gone -> :unknown
  end
end
