defmodule Kantoku.Api.TimelineTest do
  # There is one for the VM.
  use Kantoku.InstanceCase, async: false
  import Kantoku.Asking

  alias Kantoku.Api.{Recorder, Shown, Timeline}

  setup do
    Recorder.asked()
    _ = :sys.get_state(Recorder)
    %{instance: start!()}
  end

  defp timeline(instance, id), do: ask!("agent", instance: instance, key: Shown.key(id))["timeline"]

  test "tells what became of an agent, the newest first", %{instance: instance} do
    :ok = Kantoku.Domain.update(instance, :default, budget: [crashes: 1])
    worker!(instance, "ada")
    worker!(instance, "bob")
    for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
    eventually_error(instance, "ada", :parked)
    eventually(fn -> Enum.any?(timeline(instance, "ada"), &(&1["text"] =~ "agent.parked")) end)
    seen = timeline(instance, "ada")
    assert Enum.map(seen, & &1["at"]) == seen |> Enum.map(& &1["at"]) |> Enum.sort(:desc)
    assert Enum.any?(seen, &(&1["kind"] == "restart" and &1["text"] =~ "agent.crashed, crashes: 1"))
    assert timeline(instance, "bob") == []
  end

  test "tells of an agent's calls what a trace keeps: how long, and what went wrong", %{instance: instance} do
    worker!(instance, "untraced")
    {:ok, _pid} = Kantoku.call(instance, "untraced", :pid)
    traced = start!(trace: [sampler: :always_off, keep_errors: true])
    worker!(traced, "ada")
    {:ok, _pid} = Kantoku.call(traced, "ada", :pid)
    {:error, _late} = Kantoku.call(traced, "ada", {:sleep, 200}, 20)
    seen = eventually(fn -> with([] <- timeline(traced, "ada"), do: nil) end)
    assert [%{"kind" => "call", "text" => text, "took" => took}] = Enum.filter(seen, &(&1["kind"] == "call"))
    assert text =~ ~r/^agent\.called, error_type: timeout, kind: call, trace_id: [0-9a-f]{32}$/
    assert took >= 0.02
    assert Enum.all?(timeline(instance, "untraced"), &(&1["kind"] != "call"))
  end

  test "tells of all kinds, whatever process an agent is, and over its restarts" do
    traced = start!(trace: [sampler: :always_on])
    {:ok, _pid} = Kantoku.start_agent(traced, Kantoku.Test.Account, id: "data")
    worker!(traced, "plain")
    {:ok, 1} = Kantoku.call(traced, "data", {:add, 1})
    {:ok, _pid} = Kantoku.call(traced, "plain", :pid)
    for id <- ["data", "plain"], do: replaced!(traced, id)
    kinds = fn id -> traced |> timeline(id) |> Enum.map(& &1["kind"]) |> Enum.uniq() |> Enum.sort() end
    eventually(fn -> kinds.("data") == ["call", "restart", "snapshot", "transition"] end)
    # Its state is its own, so nobody keeps it.
    eventually(fn -> kinds.("plain") == ["call", "restart", "transition"] end)
    assert Enum.any?(timeline(traced, "plain"), &(&1["text"] =~ "agent.spawned"))
    before = timeline(traced, "plain")
    replaced!(traced, "plain")
    eventually(fn -> length(timeline(traced, "plain")) > length(before) end)
    assert before -- timeline(traced, "plain") == []
  end

  # Each is what its writer may leave when it is killed.
  test "goes on after a writer that was killed in the middle of a row" do
    entry = &%{at: &1 / 1, kind: :restart, text: String.duplicate("x", 200), took: nil}
    for number <- 1..30, do: Timeline.put("killed", "a#{number}", entry.(number))
    [[row, _number] | _] = :ets.match(Timeline, {{:row, "killed", "a1", :"$1"}, :"$2", :_, :_, :_, :_})
    :ets.delete(Timeline, {:row, "killed", "a1", row})
    :ets.insert(Timeline, {:bytes, -1_000_000})
    # Rows that are gone keep their place in the line; this alone must not stop who makes room.
    for number <- 1..30_000, do: Timeline.put("killed", "#{number}", entry.(number))
    recorder = Process.whereis(Recorder)
    kill(recorder)
    eventually(fn -> Process.whereis(Recorder) not in [nil, recorder] end)
    _ = :sys.get_state(Recorder)
    rows = :ets.select(Timeline, [{{{:row, :_, :"$1", :_}, :_, :_, :_, :"$2", :_}, [], [:"$$"]}])
    assert Timeline.bytes() == Enum.sum(for [key, text] <- rows, do: 400 + byte_size(key) + byte_size(text))
    Timeline.put("killed", "last", entry.(1))
    assert Timeline.bytes() <= 8_000_000
    assert [%{at: 1.0}] = Timeline.of("killed", "last")
  end

  test "keeps the newest of one, and so much of all" do
    entry = &%{at: &1 / 1, kind: :restart, text: String.duplicate("x", 200), took: nil}
    for number <- 1..1_000, do: Timeline.put("timeline", "loops", entry.(number))
    assert Enum.map(Timeline.of("timeline", "loops"), & &1.at) == Enum.map(1_000..901//-1, &(&1 / 1))
    Timeline.put("timeline", "rests", entry.(1))
    for number <- 1..30_000, do: Timeline.put("timeline", "#{number}", entry.(number))
    assert Timeline.bytes() <= 8_000_000
    assert Timeline.of("timeline", "loops") == [] and Timeline.of("timeline", "rests") == []
    assert [%{at: 30_000.0}] = Timeline.of("timeline", "30000")
    # Nothing is left of those that are gone.
    assert :ets.info(Timeline, :size) <= 3 * 20_000 + 1
  end
end
