defmodule Kantoku.ErrorTest do
  use ExUnit.Case, async: true
  doctest Kantoku.Error

  test "every reason has a sentence" do
    details = [id: 1, instance: X, domain: :d, pid: self(), retry_in: 5, timeout: 5, exit: :x, max_agents: 1]

    for reason <-
          [:not_running, :not_found, :already_started, :restarting, :parked, :stopping] ++
            [:draining, :limit, :timeout, :crashed, :start_failed, :not_parked] do
      assert Exception.message(Kantoku.Error.new(reason, details)) =~ " "
    end

    assert Exception.message(Kantoku.Error.new(:parked, id: 1, retry_in: :never)) =~ "unpark"
  end
end
