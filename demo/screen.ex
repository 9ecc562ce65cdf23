defmodule Demo.Screen do
  # Shows how things stand: on a terminal a picture redrawn in place, elsewhere a plain line every few seconds. Knows not of what.
  @moduledoc false
  use GenServer

  @redraw 400
  @line 3_000

  @typedoc "How things stand, in the lines of a picture and in one."
  @type view :: (() -> {lines :: [String.t()], line :: String.t()})

  @type t :: GenServer.server()

  @doc "Starts a screen on standard output."
  @spec start_link() :: GenServer.on_start()
  def start_link, do: GenServer.start_link(__MODULE__, match?({:ok, _columns}, :io.columns()))

  @doc "From now on shows a view; the one before stays as it was last."
  @spec show(t, view) :: :ok
  def show(screen, view), do: GenServer.call(screen, {:show, view}, :infinity)

  @doc "Prints lines that stay, and shows no view any more."
  @spec say(t, [String.t()]) :: :ok
  def say(screen, lines), do: GenServer.call(screen, {:say, lines}, :infinity)

  @impl true
  def init(terminal?), do: {:ok, %{terminal?: terminal?, view: nil, drawn: 0, timer: make_ref()}}

  @impl true
  def handle_call({:show, view}, _from, state), do: {:reply, :ok, %{ended(state) | view: view} |> draw()}
  def handle_call({:say, lines}, _from, state), do: {:reply, :ok, state |> ended() |> print(lines)}

  @impl true
  def handle_info({:draw, timer}, %{timer: timer} = state), do: {:noreply, draw(state)}
  def handle_info({:draw, _of_another_view}, state), do: {:noreply, state}

  defp ended(%{view: nil} = state), do: state
  defp ended(state), do: %{draw(state) | view: nil, drawn: 0, timer: make_ref()}

  defp print(state, lines) do
    Enum.each(lines, &IO.puts/1)
    state
  end

  defp draw(%{terminal?: true, view: view, drawn: drawn} = state) do
    {lines, _line} = view.()
    IO.write([up(drawn), Enum.map(lines, &[fitting(&1), "\e[K\n"])])
    again(%{state | drawn: length(lines)}, @redraw)
  end

  defp draw(%{view: view} = state) do
    {_lines, line} = view.()
    IO.puts(line)
    again(state, @line)
  end

  defp up(0), do: ""
  defp up(lines), do: "\e[#{lines}A"

  # A line that wraps would be two to go up.
  defp fitting(line) do
    case :io.columns() do
      {:ok, columns} -> String.slice(line, 0, columns - 1)
      _unknown -> line
    end
  end

  defp again(state, ms) do
    timer = make_ref()
    Process.send_after(self(), {:draw, timer}, ms)
    %{state | timer: timer}
  end
end
