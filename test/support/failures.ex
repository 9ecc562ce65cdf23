defmodule Kantoku.TestFailures do
  @moduledoc """
  Says once more at the end which tests failed and why, without what was logged meanwhile: of a long run often only the end is to be seen.
  """
  use GenServer

  @impl true
  def init(_opts), do: {:ok, []}

  @impl true
  def handle_cast({:test_finished, %ExUnit.Test{state: {:failed, failures}} = test}, failed),
    do: {:noreply, [shown(test, failures, length(failed) + 1) | failed]}

  def handle_cast({:module_finished, %ExUnit.TestModule{state: {:failed, failures}} = module}, failed) do
    text = ExUnit.Formatter.format_test_all_failure(module, failures, length(failed) + 1, 120, &plain/2)
    {:noreply, [text | failed]}
  end

  def handle_cast({:suite_finished, _times}, failed) do
    if failed != [], do: IO.puts(["\n\nWhat failed, without logs:\n" | Enum.reverse(failed)])
    {:noreply, failed}
  end

  def handle_cast(_event, failed), do: {:noreply, failed}

  defp shown(test, failures, number), do: ExUnit.Formatter.format_test_failure(test, failures, number, 120, &plain/2)

  defp plain(:diff_enabled?, _default), do: true
  defp plain(_color, text), do: text
end
