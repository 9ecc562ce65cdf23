defmodule Kantoku.Api.Route.Endpoints do
  # Where figures of this VM and its neighbours are served, as Prometheus' discovery over HTTP wants it.
  #
  # https://prometheus.io/docs/prometheus/latest/http_sd/
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.Discovery

  @impl true
  def answer(nil, _params), do: {:ok, Enum.map(Discovery.endpoints(), &group/1)}

  defp group(endpoint) do
    labels = %{
      __meta_kantoku_node: Shown.text(endpoint.node),
      __meta_kantoku_instances: Enum.join(endpoint.instances, ",")
    }

    %{targets: [endpoint.address], labels: labels}
  end
end
