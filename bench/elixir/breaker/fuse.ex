defmodule Bench.Breakers.Fuse do
  @moduledoc false
  # fuse, where its sources are in the folder that KANTOKU_DEPS_DIR names: compiled into this VM, and started.

  @doc "Whether its sources are to be had."
  @spec here?() :: boolean
  def here?, do: sources() != []

  @doc "Compiles and starts it, once."
  @spec start!() :: :ok
  def start! do
    unless List.keymember?(Application.loaded_applications(), :fuse, 0) do
      # Its behaviour first, as another of its modules asks for that.
      sources() |> Enum.sort_by(&(not String.ends_with?(&1, "_plugin.erl"))) |> Enum.each(&load!/1)
      {:ok, [description]} = folder() |> Path.join("fuse.app.src") |> :file.consult()
      :ok = :application.load(description)
      Application.put_env(:fuse, :monitor, false)
    end

    {:ok, _started} = Application.ensure_all_started(:fuse)
    :ok
  end

  defp load!(path) do
    {:ok, module, binary} = path |> String.to_charlist() |> :compile.file([:binary])
    {:module, ^module} = :code.load_binary(module, String.to_charlist(path), binary)
  end

  # Without those for packages that it does not need.
  defp sources do
    folder() |> Path.join("fuse*.erl") |> Path.wildcard() |> Enum.reject(&(&1 =~ ~r/exometer|folsom|prometheus/))
  end

  defp folder, do: Path.join([System.get_env("KANTOKU_DEPS_DIR", "/nonexistent"), "fuse", "src"])
end
