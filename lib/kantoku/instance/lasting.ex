defmodule Kantoku.Instance.Lasting do
  # A supervisor of one child that it never gives up: however often that dies, its neighbours go on and nobody above counts it. For whoever
  # looks after others and has all he knows from the book.
  @moduledoc false

  alias Kantoku.Domain.Pair

  @spec child_spec({module, argument :: term}) :: Supervisor.child_spec()
  def child_spec({module, _argument} = child) do
    options = [strategy: :one_for_one] ++ Pair.unlimited()
    %{id: module, start: {Supervisor, :start_link, [[child], options]}, type: :supervisor}
  end
end
