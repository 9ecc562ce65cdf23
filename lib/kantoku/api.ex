defmodule Kantoku.Api do
  @moduledoc """
  What is known of this VM's instances, as JSON: instances, pools, agents, breakers, objectives, alerts and what is being moved.

      iex> {200, "application/json", body} = Kantoku.Api.get(["api", "v1", "instances"])
      iex> IO.iodata_to_binary(body)
      ~s({"instances":[]})

  The listener of `Kantoku.Exporters` (option `:http` of an instance) serves it under `/api/v1`, and `Kantoku.Plug` does so in an
  application of Plug's. It knows neither: a path and a query come in, a status, a type and a body go out. It only reads, but for `post/2`, and makes
  no atom of what it is asked.

  `/api/v1/openapi.json` is its description in OpenAPI 3.1, with all routes, parameters and answers. What holds of all of them:

    * times are seconds since 1970, durations seconds; a term that is neither number nor text is shown as text, of 200 characters at most;
    * where something can be asked for again, it has a `key`, which is opaque; `null` where it would be longer than 1 KB;
    * `instance` is a name as `/api/v1/instances` has it, and by default the first of those;
    * errors are `{"error": {"reason": _, "message": _}}` with 400, 404, 409 or 503;
    * the state of agents, the cookie and the environment are never shown, and of a reason its kind, not its data.

  Lists are bounded (agents come page by page), and no answer copies a table.
  """

  alias Kantoku.{Error, Instances, JSON}
  alias Kantoku.Api.{Admin, Params, Route, Shown}

  @routes %{
    "agent" => {:instance, Route.Agent},
    "agents" => {:instance, Route.Agents},
    "alerts" => {:instance, Route.Alerts},
    "breakers" => {:instance, Route.Breakers},
    "endpoints" => {:vm, Route.Endpoints},
    "instances" => {:vm, Route.Instances},
    "migration" => {:instance, Route.Migration},
    "objectives" => {:instance, Route.Objectives},
    "overview" => {:instance, Route.Overview},
    "pools" => {:instance, Route.Pools},
    "top" => {:instance, Route.Top}
  }

  @json "application/json"
  @description Path.expand("api/openapi.json", __DIR__)
  @external_resource @description
  @openapi File.read!(@description)

  @type answer :: {status :: 200..599, content_type :: String.t(), body :: iodata}

  @doc """
  Answers a request: its path as segments, without empty ones, and its query with names and values as they were meant (decoded).

  Never raises for what it is asked: that is answered with 400 or 404; and what is just being started with 503.
  """
  @spec get([String.t()], %{optional(String.t()) => term}) :: answer
  def get(path, query \\ %{})
  def get(["api", "v1", "openapi.json"], _query), do: {200, @json, @openapi}

  def get(["api", "v1", name], query) do
    case @routes do
      %{^name => {of, route}} -> of |> asked(query) |> answer(route, query)
      _none -> refuse({404, :not_found, "there is no such path; /api/v1/openapi.json names all"})
    end
  end

  def get(_path, _query), do: refuse({404, :not_found, "there is no such path; /api/v1/openapi.json names all"})

  @doc """
  Does what a request asks for that may do something: `POST /api/v1/admin/...`, as `get/2` with its path and query. Who may is settled before, by the
  token of `:admin_token` (`Kantoku.Exporters`, `Kantoku.Plug`); without that option there is nothing here.

  | path | parameters | |
  |---|---|---|
  | `/api/v1/admin/unpark` | `instance`, `key` | `Kantoku.unpark/2` |
  | `/api/v1/admin/restart` | `instance`, `key` | `Kantoku.restart_agent/2` |
  | `/api/v1/admin/drain` | `instance` | `Kantoku.drain/2`, which ends in all agents being stopped; only a start of the instance lifts it |

  What takes longer than a second goes on, and is answered with 202. Each is told as `[:kantoku, :api, :admin]` when it has ended.
  """
  @spec post([String.t()], %{optional(String.t()) => term}) :: answer
  def post(["api", "v1", "admin", name], query) do
    with true <- name in Admin.actions(),
         {:ok, instance} <- required(query),
         {:ok, status, body} <- Admin.act(name, instance, query) do
      {status, @json, JSON.encode(body)}
    else
      false -> refuse({404, :not_found, "there is no such path; /api/v1/openapi.json names all"})
      {:error, refusal} -> refuse(refusal)
    end
  end

  def post(_path, _query), do: refuse({404, :not_found, "there is no such path; /api/v1/openapi.json names all"})

  # What is done is done to nobody by default.
  defp required(%{"instance" => name} = query) when name != "", do: asked(:instance, query)
  defp required(_query), do: {:error, Params.refusal("instance", "a name as /api/v1/instances has it")}

  @doc "The paths that `get/2` answers."
  @spec paths() :: [String.t()]
  def paths, do: for(name <- ["openapi.json" | Map.keys(@routes)], do: "/api/v1/" <> name)

  defp answer({:ok, asked}, route, query) do
    case route.answer(asked, query) do
      {:ok, body} -> {200, @json, JSON.encode(body)}
      {:error, refusal} -> refuse(refusal)
    end
  end

  defp answer({:error, refusal}, _route, _query), do: refuse(refusal)

  defp asked(:vm, _query), do: {:ok, nil}
  defp asked(:instance, query), do: named(Instances.names() |> Enum.sort(), Map.get(query, "instance"))

  defp named([], _name), do: {:error, {404, :not_running, "no instance runs in this VM"}}
  defp named([first | _], nil), do: {:ok, first}

  defp named(instances, name) do
    case Enum.find(instances, &(Shown.text(&1) == name)) do
      nil -> {:error, {404, :not_running, "no instance of that name runs; /api/v1/instances names all"}}
      instance -> {:ok, instance}
    end
  end

  @doc false
  @spec refuse({status :: 400..599, reason :: atom, message :: String.t()} | Error.t()) :: answer
  def refuse({status, reason, message}),
    do: {status, @json, JSON.encode(%{error: %{reason: reason, message: message}})}

  def refuse(%Error{reason: reason} = error), do: refuse({status(reason), reason, Exception.message(error)})

  defp status(reason) when reason in [:not_found, :not_running], do: 404
  defp status(:not_parked), do: 409
  defp status(_may_be_asked_again), do: 503
end
