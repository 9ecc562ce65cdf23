defmodule Kantoku.Migration.Clerk do
  # Looks at all canaries of this VM, once a second while there are any, and takes back those that are worse than their control. What it
  # knows is in the tables, so it may die at any time. Knows no agent.
  @moduledoc false
  use GenServer

  alias Kantoku.Migration.{Changes, Crowd, Judge, Settings, Tally}

  # Between two looks, in ms.
  @round 1_000

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  @doc "There may be something to look at."
  @spec wake() :: :ok
  def wake, do: GenServer.cast(__MODULE__, :wake)

  @doc "Looks now, and answers when that is done."
  @spec look() :: :ok
  def look, do: GenServer.call(__MODULE__, :look)

  @impl true
  def init(nil), do: {:ok, go_on(nil)}

  @impl true
  def handle_cast(:wake, timer), do: {:noreply, go_on(timer)}

  @impl true
  def handle_call(:look, _from, timer) do
    look_at_all()
    {:reply, :ok, timer}
  end

  @impl true
  def handle_info(:round, _timer) do
    look_at_all()
    {:noreply, go_on(nil), :hibernate}
  end

  def handle_info(_other, timer), do: {:noreply, timer}

  defp go_on(nil), do: if(canaries() != [] or Crowd.any?(), do: Process.send_after(self(), :round, @round))
  defp go_on(timer), do: timer

  defp canaries, do: for({key, {:canary, _limit, tally}, setting} <- Settings.all(), do: {key, tally, setting.rules})

  defp look_at_all do
    Enum.each(canaries(), &look_at/1)
    Crowd.sweep()
  end

  defp look_at({key, tally, rules}) do
    case Judge.judge(Tally.read(tally, :new), Tally.read(tally, :old), rules) do
      {:worse, reversal} -> Changes.revert(key, reversal, rules.revert_to)
      _few_or_fit -> Tally.turn(tally, System.monotonic_time(:millisecond), rules.window)
    end
  end
end
