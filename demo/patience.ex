defmodule Demo.Patience do
  # How long to wait for an agent that is away. Pure but for `rest/1`, which waits.
  @moduledoc false

  alias Kantoku.Error

  @least 20
  @most 500

  @doc "Waits until it makes sense to ask again."
  @spec rest(Error.t()) :: :ok
  def rest(error), do: error |> ms() |> Process.sleep()

  defp ms(%Error{details: %{retry_in: ms}}) when is_integer(ms), do: ms |> max(@least) |> min(@most)
  defp ms(_error), do: @least
end
