defmodule Kantoku.Assets do
  @moduledoc """
  The dashboard's own files, and what its palette comes to.
  """

  @folder "native/exporters/assets"

  @doc "A file's text."
  def read!(name), do: File.read!(Path.join(@folder, name))

  @doc "The names of files of ours that end so."
  def names(ending), do: @folder |> File.ls!() |> Enum.filter(&String.ends_with?(&1, ending)) |> Enum.sort()

  @doc "The colours of a theme, `:light` or `:dark`, by their names."
  def palette(theme) do
    [light, dark] = Regex.scan(~r/:root[^{]*\{([^}]*)\}/, read!("theme.css"), capture: :all_but_first)
    [block] = if theme == :light, do: light, else: dark
    for [_all, name, colour] <- Regex.scan(~r/--([\w-]+): (#[0-9a-f]{6});/, block), into: %{}, do: {name, colour}
  end

  @doc "How far two colours are apart: 1 to 21 (WCAG 2.2, contrast ratio)."
  def contrast(one, other) do
    [light, dark] = Enum.sort([luminance(one), luminance(other)], :desc)
    (light + 0.05) / (dark + 0.05)
  end

  defp luminance("#" <> hex) do
    [red, green, blue] = for <<part::binary-size(2) <- hex>>, do: part |> String.to_integer(16) |> linear()
    0.2126 * red + 0.7152 * green + 0.0722 * blue
  end

  defp linear(value) do
    share = value / 255
    if share <= 0.04045, do: share / 12.92, else: :math.pow((share + 0.055) / 1.055, 2.4)
  end
end
