defmodule Kantoku.Api.AgentsTest do
  use Kantoku.InstanceCase, async: true
  import Kantoku.Asking

  setup do
    %{instance: start!(domains: [[name: :default], [name: :tools]], health: [period: 50])}
  end

  defp ids(answer), do: Enum.map(answer["agents"], & &1["id"])
  defp find(instance, text), do: ids(ask!("agents", instance: instance, q: text, limit: 200))

  # All pages, and how many there were.
  defp pages(instance, query, cursor \\ nil) do
    answer = ask!("agents", [instance: instance] ++ query ++ if(cursor, do: [after: cursor], else: []))
    if next = answer["next"], do: [ids(answer) | pages(instance, query, next)], else: [ids(answer)]
  end

  test "come page by page, each once and in order", %{instance: instance} do
    names = for number <- 1..730, do: "agent #{String.pad_leading("#{number}", 3, "0")}"
    for name <- Enum.shuffle(names), do: worker!(instance, name)
    pages = pages(instance, limit: 100)
    assert Enum.map(pages, &length/1) == [100, 100, 100, 100, 100, 100, 100, 30]
    assert List.flatten(pages) == names
    assert ask!("agents", instance: instance, limit: 1)["total"] == 730
    assert pages(instance, limit: 73) |> List.flatten() == names
  end

  test "are not lost or told twice when others come and go", %{instance: instance} do
    for number <- 1..20, do: worker!(instance, number)
    %{"next" => next} = ask!("agents", instance: instance, limit: 10)
    :ok = Kantoku.stop_agent(instance, 10)
    worker!(instance, 0)
    assert instance |> pages([limit: 5], next) |> List.flatten() == Enum.map(11..20, &to_string/1)
  end

  test "come with those first that were restarted most", %{instance: instance} do
    for number <- 1..4, do: worker!(instance, number)
    for _ <- 1..2, do: replaced!(instance, 3)
    replaced!(instance, 2)
    eventually(fn -> pages(instance, sort: "restarts", limit: 1) == [["3"], ["2"], ["1"], ["4"]] end)
  end

  test "come with those first that use most", %{instance: instance} do
    for number <- 1..3, do: worker!(instance, number)
    :sys.suspend(Kantoku.whereis(instance, 2))
    for _ <- 1..5, do: send(Kantoku.whereis(instance, 2), :wait)
    eventually(fn -> match?(["2" | _], ids(ask!("agents", instance: instance, sort: "mailbox"))) end)

    assert %{"agents" => [%{"mailbox" => 5}], "total" => 3} =
             ask!("agents", instance: instance, sort: "mailbox", limit: 1)

    assert %{"agents" => [], "total" => 0} = ask!("agents", instance: instance, sort: "mailbox", q: "domain:tools")
  end

  test "are found by what they are", %{instance: instance} do
    worker!(instance, "ada", tags: ["gpu", :quick], metadata: %{"plan" => "gold", tenant: 7})
    worker!(instance, "bob", domain: :tools, tags: [:gpu], capabilities: ["search"], metadata: %{tenant: "8"})
    worker!(instance, "two words", tags: ["a b"])

    for {text, found} <- [
          {"", ["ada", "bob", "two words"]},
          {"tag:gpu", ["ada", "bob"]},
          {"tag::gpu", ["bob"]},
          {"tag:gpu tag:quick", ["ada"]},
          {"tag:gpu -tag:quick", ["bob"]},
          {"tag:quick|nobody_has_this_tag", ["ada"]},
          {~s(tag:"a b"), ["two words"]},
          {"tag:nobody_has_this_tag", []},
          {"-tag:nobody_has_this_tag", ["ada", "bob", "two words"]},
          {"capability:search", ["bob"]},
          {"type:Kantoku.TestWorker -tag:gpu", ["two words"]},
          {"type:Nobody.Wrote.This", []},
          {"meta.tenant:7", ["ada"]},
          {"meta.tenant:7|8", ["ada", "bob"]},
          {"meta.plan:gold", ["ada"]},
          {"domain:tools", ["bob"]},
          {"-domain:tools", ["ada", "two words"]},
          {"domain:nowhere", []},
          {"phase:up", ["ada", "bob", "two words"]},
          {"phase:parked|stopped", []},
          {"-phase:up", []},
          {"wo", ["two words"]},
          {~s("two words"), ["two words"]},
          {"ada|bob", ["ada", "bob"]},
          {"-ada", ["bob", "two words"]},
          {"id:a tag:gpu domain:default", ["ada"]},
          {"node:#{node()} bob", ["bob"]}
        ],
        do: assert({text, find(instance, text)} == {text, found})
  end

  test "are found though they are down", %{instance: instance} do
    :ok = Kantoku.Domain.update(instance, :tools, budget: [crashes: 1])
    worker!(instance, "ada", domain: :tools)
    for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
    eventually_error(instance, "ada", :parked)

    assert %{"agents" => [%{"id" => "ada", "phase" => "parked", "mailbox" => nil, "since" => nil}]} =
             ask!("agents", instance: instance, q: "phase:parked")
  end

  test "who runs without a pause keeps nobody waiting for the others", %{instance: instance} do
    for number <- 1..3, do: worker!(instance, number)
    pid = Kantoku.whereis(instance, 2)
    :erlang.suspend_process(pid)
    assert ["1", "2", "3"] = ids(ask!("agents", instance: instance))
    :erlang.resume_process(pid)
  end
end
