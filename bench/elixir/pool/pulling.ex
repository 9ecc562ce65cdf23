defmodule Bench.Pool.Pulling do
  @moduledoc false
  # The worker that answers at once, and has the next request by the same step.
  use GenServer

  @spec start_link(Kantoku.Pool.t()) :: GenServer.on_start()
  def start_link(pool), do: GenServer.start_link(__MODULE__, pool)

  @impl true
  def init(pool), do: {:ok, pool}

  @impl true
  def handle_call(request, from, pool) do
    Kantoku.Pool.reply(pool, from, request)
    {:noreply, pool}
  end
end
