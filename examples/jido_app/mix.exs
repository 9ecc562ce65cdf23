defmodule Desk.MixProject do
  use Mix.Project

  def project do
    [app: :desk, version: "0.1.0", elixir: "~> 1.14", start_permanent: Mix.env() == :prod, deps: deps()]
  end

  def application, do: [mod: {Desk.Application, []}, extra_applications: [:logger]]

  # In an app of yours: [{:jido, "~> 2.3"}, {:kantoku, "~> 0.1"}]. Here Kantoku is the folder above, and where Hex cannot be reached, so is
  # Jido in the one that KANTOKU_DEPS_DIR names.
  defp deps do
    jido =
      case System.get_env("KANTOKU_DEPS_DIR") do
        nil -> {:jido, "~> 2.3"}
        dir -> {:jido, path: Path.join(dir, "jido")}
      end

    [jido, {:kantoku, path: "../.."}]
  end
end
