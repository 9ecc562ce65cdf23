defmodule Kantoku.Memory.Watch do
  # Looks at what an instance's native memory comes to, and says who is at the limit: in the book, and to the engine, which takes names without
  # asking anybody. Not there where nothing has a limit. Refuses nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.{Engine, Instances, Memory, Native, Telemetry}
  alias Kantoku.Memory.{Config, Notes}

  # Between two looks, and at least between two that were asked for, in ms.
  @period 250
  @pause 10

  @spec start_link(atom) :: GenServer.on_start()
  def start_link(instance), do: GenServer.start_link(__MODULE__, instance)

  @impl true
  def init(instance) do
    {_rows, book} = Instances.tables!(instance)

    if Engine.kind(instance) != :native or Notes.unlimited?(Notes.limits(book)) do
      :ignore
    else
      Notes.seat(book, self())
      {:ok, look({instance, book, nil, nil})}
    end
  end

  @impl true
  def handle_info({:timeout, timer, :look}, {_instance, _book, timer, _last} = state), do: {:noreply, look(state)}

  # Somebody was refused.
  def handle_info(:look, {_instance, _book, timer, last} = state) do
    if now() - last >= @pause do
      :erlang.cancel_timer(timer)
      {:noreply, look(state)}
    else
      {:noreply, state}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp look({instance, book, _timer, _last}) do
    held = Memory.held(instance)
    limits = Notes.limits(book)
    for owner <- Config.owners(), do: judge(instance, book, owner, held[owner], limits[owner])
    _known = Native.close_to_names(instance, Notes.full?(book, :registry))
    {instance, book, :erlang.start_timer(@period, self(), :look), now()}
  end

  # An atom is more than each number.
  defp judge(instance, book, owner, bytes, max) do
    full? = bytes >= max

    if full? != Notes.full?(book, owner) do
      Notes.put_full(book, owner, full?)
      name = if full?, do: [:memory, :full], else: [:memory, :freed]
      Telemetry.emit(instance, name, %{bytes: bytes}, %{owner: owner, max_bytes: max})
    end
  end

  defp now, do: :erlang.monotonic_time(:millisecond)
end
