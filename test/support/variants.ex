defmodule Kantoku.Variants do
  # Builds of the native library that differ from the one under test. Built once for a layout, beside cargo's own output or
  # in the folder that KANTOKU_VARIANTS names.
  @moduledoc false

  @doc "The path of `:plain` (as under test), `:variant` (another build, same layout) or `:other_layout`."
  def path(which) do
    path = Path.join(folder(), "#{which}.so")
    unless File.exists?(path), do: :global.trans({__MODULE__, self()}, fn -> build(which, path) end)
    path
  end

  defp folder do
    {_build, layout} = Kantoku.Native.library()
    base = System.get_env("KANTOKU_VARIANTS") || Path.join(Path.dirname(Mix.Project.build_path()), "variants")
    Path.join(base, layout)
  end

  defp build(which, path) do
    {out, 0} = System.cmd("cargo", arguments(which), env: [{"CARGO_TARGET_DIR", target()}], stderr_to_stdout: true)
    File.mkdir_p!(folder())
    File.cp!(Path.join(target(), "debug/libkantoku_nif.so"), path)
    out
  end

  defp arguments(which) do
    features = if which == :plain, do: "faults", else: "faults,#{which}"
    ["build", "--locked", "--quiet", "--package", "kantoku_nif", "--features", features]
  end

  defp target, do: System.get_env("CARGO_TARGET_DIR") || Path.join(Path.dirname(Mix.Project.build_path()), "cargo")
end
