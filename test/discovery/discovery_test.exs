defmodule Kantoku.DiscoveryTest do
  # There is one listener for the VM.
  use Kantoku.InstanceCase, async: false
  import Kantoku.Asking

  alias Kantoku.{Discovery, RawHTTP}

  doctest Kantoku.Discovery

  defmodule Catalogue do
    @behaviour Kantoku.Discovery
    def listen, do: Process.register(self(), __MODULE__)
    def up(endpoint), do: send(__MODULE__, {:up, endpoint})
    def down(endpoint), do: send(__MODULE__, {:down, endpoint})
    def changed(before, endpoint), do: send(__MODULE__, {:changed, before, endpoint})
  end

  defmodule Failing do
    @behaviour Kantoku.Discovery
    def up(_endpoint), do: raise("no catalogue answers")
    def down(_endpoint), do: exit(:gone)
    def changed(_before, _endpoint), do: throw(:away)
  end

  defmodule One do
    @behaviour Discovery
    def up(_endpoint), do: :ok
    def changed(_before, _endpoint), do: :ok
    def down(_endpoint), do: Kantoku.DiscoveryTest.meet(__MODULE__, Kantoku.DiscoveryTest.Other)
  end

  defmodule Other do
    @behaviour Discovery
    def up(_endpoint), do: :ok
    def changed(_before, _endpoint), do: :ok
    def down(_endpoint), do: Kantoku.DiscoveryTest.meet(__MODULE__, One)
  end

  # Answers when the other one has been told, too.
  def meet(me, other) do
    Process.register(self(), me)
    eventually(fn -> Process.whereis(other) end)
    send(__MODULE__, {:met, me, self()})
    receive do: (:go -> :ok)
  end

  @tag capture_log: true
  test "tells when a listener comes, when its instances change, and when it goes; whatever another one does" do
    Catalogue.listen()
    http = RawHTTP.options(advertise: "10.0.0.7:9464", discovery: [Failing, Catalogue])
    first = start!(http: http)
    assert_receive {:up, %{address: "10.0.0.7:9464", instances: [name]} = endpoint}, 5_000
    assert name == Atom.to_string(first) and endpoint.node == node()
    assert Discovery.endpoints() == [endpoint]
    second = start!(http: http)
    assert_receive {:changed, ^endpoint, %{instances: [_, _]}}, 5_000
    stop_supervised!(second)
    assert_receive {:changed, %{instances: [_, _]}, ^endpoint}, 5_000
    stop_supervised!(first)
    assert_receive {:down, ^endpoint}, 5_000
    assert Discovery.endpoints() == []
  end

  test "tells all modules at the same time, so that a slow one takes nobody's time" do
    Process.register(self(), __MODULE__)
    start!(http: RawHTTP.options(discovery: [One, Other])) |> stop_supervised!()
    met = for module <- [One, Other], do: assert_receive({:met, ^module, _pid}, 4_000)
    for {:met, _module, pid} <- met, do: send(pid, :go)
  end

  test "is served as Prometheus wants it" do
    instance = start!(http: RawHTTP.options())
    address = "127.0.0.1:#{RawHTTP.port()}"

    assert [%{"targets" => [^address], "labels" => labels}] = ask!("endpoints")
    assert labels == %{"__meta_kantoku_node" => "nonode@nohost", "__meta_kantoku_instances" => Atom.to_string(instance)}
  end
end
