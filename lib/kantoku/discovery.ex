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

  Callbacks run in processes of their own, those of several modules at the same time and those of one after each other, for five seconds at most; one
  that fails is told to the log and stops nothing. What they return is not looked at. `down` comes in an orderly shutdown; who was killed says nothing, so a catalogue needs a health check of its own (`/livez`).
  After a failure of ours `up` may come a second time.

  A listener at the loopback, which is where it is unless told otherwise, is an endpoint for its own VM alone, and one at all addresses (`ip: "0.0.0.0"`) is
  none until `:advertise` says where others reach it: both are left out of what other VMs name. Requests may come under the host of `:advertise`; where a
  service or a translated address stands in between, whose names requests bring, those belong into `:hosts`, too. The callbacks get the address as it is.
  """

  alias Kantoku.Exporters.{Keeper, Members, Words}
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
  The endpoints of this VM and of all connected ones that answer within a second and say where they are reached; of a VM without a listener none.

      iex> Kantoku.Discovery.endpoints()
      []
  """
  @spec endpoints() :: [endpoint]
  def endpoints do
    nodes = Enum.sort([node() | Node.list()])
    answers = :erpc.multicall(nodes, __MODULE__, :local, [], @patience)
    # What has no Kantoku, or none that is as new, has no endpoint.
    for {:ok, found} when is_list(found) <- answers, endpoint <- found, reachable?(endpoint), do: endpoint
  end

  # A loopback is that of its own machine, and who listens at all addresses has said none.
  defp reachable?(%{address: address, node: node}) do
    case address |> Words.host_of() |> place() do
      :unspecified -> false
      :loopback -> node == node()
      :elsewhere -> true
    end
  end

  defp place("localhost"), do: :loopback
  defp place(nil), do: :elsewhere

  defp place(host) do
    case host
         |> String.trim_leading("[")
         |> String.trim_trailing("]")
         |> String.to_charlist()
         |> :inet.parse_address() do
      {:ok, ip} when ip in [{0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}] -> :unspecified
      {:ok, {127, _, _, _}} -> :loopback
      {:ok, {0, 0, 0, 0, 0, 0, 0, 1}} -> :loopback
      _other -> :elsewhere
    end
  end

  @doc false
  @spec local() :: [endpoint]
  def local do
    case Keeper.state() do
      {{config, address}, _running, _failed, _ignored} ->
        instances = for {instance, pid, _, _, _} <- Members.all(), Process.alive?(pid), do: instance
        [endpoint(config.advertise || address, instances)]

      {nil, _running, _failed, _ignored} ->
        []
    end
  end

  @doc false
  @spec endpoint(String.t(), [atom]) :: endpoint
  def endpoint(address, instances),
    do: %{address: address, node: node(), instances: instances |> Enum.map(&Definition.text/1) |> Enum.sort()}
end
