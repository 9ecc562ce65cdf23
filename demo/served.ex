defmodule Demo.Served do
  # Where the dashboard is, and what it is asked with, in a line. Pure.
  @moduledoc false

  alias Demo.Options

  # In as many seconds somebody can look about.
  @long 600

  @doc "What to say of the VM's listener (`Kantoku.Exporters.status/0`); of none that was not asked for, nothing."
  @spec lines(Options.t(), term) :: [String.t()]
  def lines(%{http: false}, _http), do: []

  def lines(options, %{port: port, token_file: file}),
    do: ["dashboard  http://localhost:#{port}/ while this runs, #{long(options)}; #{token(file)}"]

  def lines(_options, {:error, error}), do: ["dashboard  not served: #{Exception.message(error)}"]
  def lines(_options, :off), do: []

  defp long(%{seconds: seconds}) when seconds < @long, do: "for #{seconds} s (--seconds #{@long} for longer)"
  defp long(%{seconds: seconds}), do: "for #{seconds} s"

  # In a VM that already serves, the first who asked for it chose the token.
  defp token(nil), do: "its token is that of another instance"
  defp token(file), do: "its token is in #{file}"
end
