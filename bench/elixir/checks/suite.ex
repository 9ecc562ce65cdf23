defmodule Bench.Checks do
  @moduledoc false
  # What has to be counted as zero, however long one looks.
  @behaviour Bench.Suite

  alias Bench.Checks.{ExitStorm, SchedulerHold, StaleReads}
  alias Bench.{Ours, Stage}

  @impl true
  def name, do: "checks"

  @impl true
  def stages(options) do
    for item <- [StaleReads.item(options), ExitStorm.item(options), SchedulerHold.item(options)] do
      %Stage{build: fn -> open(options) end, clear: &Supervisor.stop(&1.supervisor), items: [item]}
    end
  end

  defp open(options) do
    {registry, supervisor} =
      Ours.open_registry(:"bench_checks_#{System.unique_integer([:positive])}", System.schedulers_online(), options)

    %{registry: registry, supervisor: supervisor}
  end
end
