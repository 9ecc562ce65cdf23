defmodule Kantoku.Api.Route do
  # What one path of the API answers: a term that can be written as JSON, of an instance that runs, or of the VM (`nil`). Knows no HTTP but
  # the status of a refusal.
  @moduledoc false

  alias Kantoku.Api.Params
  alias Kantoku.Error

  @type refusal :: Params.refusal() | {404, :not_found, String.t()} | Error.t()

  @callback answer(instance :: atom, Params.t()) :: {:ok, map | list} | {:error, refusal}
end
