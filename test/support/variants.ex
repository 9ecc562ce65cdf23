defmodule Kantoku.Variants do
  # Builds of the native library that differ from the one under test. Built once for a layout, beside cargo's own output or
  # in the folder that KANTOKU_VARIANTS names.
  @moduledoc false

  @doc "Builds all that are not there yet, so that no test has to wait for the compiler."
  def prepare, do: if(Kantoku.Native.loaded?(), do: for(which <- [:plain, :variant, :other_layout], do: path(which)))

  @doc "The path of `:plain` (as under test), `:variant` (another build, same layout) or `:other_layout`."
  def path(which) do
    path = Path.join(folder(), "#{which}.so")
    unless File.exists?(path), do: :global.trans({__MODULE__, self()}, fn -> made(which, path) end)
    path
  end

  # Somebody else may have been at it.
  defp made(which, path), do: if(not File.exists?(path), do: build(which, path))

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
    # Those of the library under test, for features are part of the layout.
    features = if which == :plain, do: "faults,tls", else: "faults,tls,#{which}"
    ["build", "--locked", "--quiet", "--package", "kantoku_nif", "--features", features]
  end

  defp target, do: System.get_env("CARGO_TARGET_DIR") || Path.join(Path.dirname(Mix.Project.build_path()), "cargo")
end
