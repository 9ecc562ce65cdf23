defmodule Kantoku.Api.Route.Endpoints do
  # Where figures of this VM are served, as Prometheus' discovery over HTTP wants it.
  #
  # https://prometheus.io/docs/prometheus/latest/http_sd/
  @moduledoc false
  @behaviour Kantoku.Api.Route

  alias Kantoku.Api.Shown
  alias Kantoku.{Exporters, Instances}

  @impl true
  def answer(nil, _params) do
    case Exporters.status().http do
      %{address: address} -> {:ok, [%{targets: [address], labels: labels()}]}
      _off -> {:ok, []}
    end
  end

  defp labels do
    %{
      __meta_kantoku_node: Shown.text(node()),
      __meta_kantoku_instances: Instances.names() |> Enum.sort() |> Enum.map_join(",", &Shown.text/1)
    }
  end
end
