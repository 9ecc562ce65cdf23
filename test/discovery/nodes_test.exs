defmodule Kantoku.Discovery.NodesTest do
  # Two VMs that are connected, and what each names of the other.
  use ExUnit.Case, async: true

  import Kantoku.TestOwner, only: [eventually: 1]

  alias Kantoku.{Discovery, Exporters, ExportingVM, OpenAPI, OtherVM, RawHTTP}

  @cookie "kantoku_discovery_cookie_swordfish"
  @moduletag timeout: 180_000

  setup context do
    vms = for n <- 1..2, do: vm("#{n}_#{System.unique_integer([:positive])}", context[:http] || [])
    [{one, _, _}, {_two, node, _}] = vms
    true = OtherVM.run(one, {Node, :connect, [node]})
    %{vms: vms}
  end

  defp vm(name, http) do
    {vm, node} = OtherVM.start_named(:"kantoku_discovery_#{name}", @cookie)
    on_exit(fn -> stopped(vm) end)
    {:ok, _} = OtherVM.run(vm, {ExportingVM, :start, [[name: :exported, http: RawHTTP.options(http)]]})
    %{http: %{port: port}} = OtherVM.run(vm, {Exporters, :status, []})
    {vm, node, port}
  end

  defp stopped(vm) do
    OtherVM.stop(vm)
  catch
    :exit, _gone -> :ok
  end

  defp endpoints(vm),
    do: for(%{address: address, node: node} <- OtherVM.run(vm, {Discovery, :endpoints, []}), do: {node, address})

  test "a loopback is an endpoint for its own VM alone", %{vms: vms} do
    for {vm, node, port} <- vms, do: assert(endpoints(vm) == [{node, "127.0.0.1:#{port}"}])
  end

  @tag http: [ip: "0.0.0.0"]
  test "all addresses are none", %{vms: vms} do
    for {vm, _node, _port} <- vms, do: assert(endpoints(vm) == [])
  end

  @tag http: [ip: "0.0.0.0", advertise: "agents.internal:9464"]
  test "who says where it is reached is named by all, answers under that name, and tells no cookie", %{vms: vms} do
    nodes = for {_vm, node, _port} <- vms, do: node
    [{_, _, port} | _] = vms

    eventually(fn ->
      for {vm, _, _} <- vms,
          do: assert(Enum.sort(endpoints(vm)) == for(node <- nodes, do: {node, "agents.internal:9464"}))
    end)

    assert {200, _, body} = RawHTTP.get(port, "/api/v1/endpoints", host: "agents.internal:9464")
    for node <- nodes, do: assert(body =~ Atom.to_string(node))

    for {path, %{"get" => _}} <- OpenAPI.document()["paths"], path != "/events" do
      {_status, _headers, body} = RawHTTP.get(port, path <> "?instance=exported&series=p99")
      refute body =~ @cookie
    end
  end
end
