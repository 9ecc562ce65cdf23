defmodule Kantoku.ErrorTest do
  use ExUnit.Case, async: true
  doctest Kantoku.Error

  alias Kantoku.Error

  # Exception.message/1 would make a sentence of a failure to make one.
  test "every reason has a sentence that says what to do" do
    details = [id: 1, instance: X, domain: :d, retry_in: 5, timeout: 5, exit: :x, max_agents: 1]

    for reason <-
          [:not_running, :restarting, :parked, :stopping, :draining, :limit] ++
            [:timeout, :crashed, :start_failed, :not_parked] do
      assert Error.message(Error.new(reason, details)) =~ ~r/(agent 1|instance X|X|domain :d) .{15}/
    end

    of_pool = [pool: {X, :p}, retry_in: 5, timeout: 5, begun: true, ready: 1, wanted: 2, exit: :x]

    for reason <-
          [:not_found, :restarting, :draining, :timeout, :crashed, :start_failed, :queue_full, :overloaded, :quota] ++
            [:deadline, :closed, :not_held, :not_owner] do
      assert Error.message(Error.new(reason, of_pool)) =~ ~r/pool :p of X.{15}/
    end

    assert Error.message(Error.new(:timeout, Keyword.put(of_pool, :begun, false))) =~ "nothing was sent"
    assert Error.message(Error.new(:not_found, id: 1)) =~ "start it with"
    assert Error.message(Error.new(:not_found, domain: :d)) =~ "no domain :d"
  end

  test "a wait without an end is told as one" do
    assert Error.message(Error.new(:parked, id: 1, retry_in: :never)) =~ "bring it back with Kantoku.unpark/2"
    refute Error.message(Error.new(:restarting, id: 1, retry_in: :never)) =~ "never"
  end
end
