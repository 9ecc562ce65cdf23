defmodule Kantoku.Discovery do
  @moduledoc """
  Where figures of this VM, and of those that it is connected to, are served: for a service mesh, a catalogue, or a scraper.

  `/api/v1/endpoints` of the listener (`Kantoku.Exporters`) has it in the format of Prometheus' [discovery over
  HTTP](https://prometheus.io/docs/prometheus/latest/http_sd/), so that one VM of a cluster names all. Where something else has to hear of it, give
  the listener modules of this behaviour:

      defmodule MyApp.Catalogue do
        @behaviour Kantoku.Discovery

        @impl true
        def up(endpoint), do: MyApp.Consul.register(endpoint.address, endpoint.instances)

        @impl true
        def changed(_before, endpoint), do: up(endpoint)

        @impl true
        def down(endpoint), do: MyApp.Consul.deregister(endpoint.address)
      end

      {Kantoku, name: MyApp.Agents, http: [ip: "0.0.0.0", advertise: "10.0.0.7:9464", discovery: [MyApp.Catalogue]]}

  Callbacks run one after the other in a process of their own, for five seconds each at most; one that fails is told to the log and stops nothing. What
  they return is not looked at. `down` comes in an orderly shutdown; who was killed says nothing, so a catalogue needs a health check of its own (`/livez`).
  After a failure of ours `up` may come a second time.
  """

  alias Kantoku.Exporters.{Keeper, Members}
  alias Kantoku.Metrics.Definition

  # For each node, in ms.
  @patience 1_000

  @typedoc "`address` is `host:port`: the option `:advertise` of `:http`, or where it listens. `instances` are those that are served there, by name."
  @type endpoint :: %{address: String.t(), node: node, instances: [String.t()]}

  @doc "The listener serves."
  @callback up(endpoint) :: term

  @doc "It is about to end, or has ended."
  @callback down(endpoint) :: term

  @doc "It is at another address, or of other instances."
  @callback changed(before :: endpoint, endpoint) :: term

  @doc """
  The endpoints of this VM and of all connected ones that answer within a second; of a VM without a listener none.

      iex> Kantoku.Discovery.endpoints()
      []
  """
  @spec endpoints() :: [endpoint]
  def endpoints do
    nodes = Enum.sort([node() | Node.list()])
    answers = :erpc.multicall(nodes, __MODULE__, :local, [], @patience)
    # What has no Kantoku, or none that is as new, has no endpoint.
    for {:ok, found} when is_list(found) <- answers, endpoint <- found, do: endpoint
  end

  @doc false
  @spec local() :: [endpoint]
  def local do
    case Keeper.state() do
      {{config, address}, _running, _failed} ->
        instances = for {instance, pid, _, _, _} <- Members.all(), Process.alive?(pid), do: instance
        [endpoint(config.advertise || address, instances)]

      {nil, _running, _failed} ->
        []
    end
  end

  @doc false
  @spec endpoint(String.t(), [atom]) :: endpoint
  def endpoint(address, instances),
    do: %{address: address, node: node(), instances: instances |> Enum.map(&Definition.text/1) |> Enum.sort()}
end
