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

  test "is served as Prometheus wants it" do
    instance = start!(http: RawHTTP.options())
    address = "127.0.0.1:#{RawHTTP.port()}"

    assert [%{"targets" => [^address], "labels" => labels}] = ask!("endpoints")
    assert labels == %{"__meta_kantoku_node" => "nonode@nohost", "__meta_kantoku_instances" => Atom.to_string(instance)}
  end
end
