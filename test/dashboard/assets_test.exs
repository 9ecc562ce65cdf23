defmodule Kantoku.Dashboard.AssetsTest do
  # What can be said of the page without a browser.
  use ExUnit.Case, async: true

  alias Kantoku.Assets

  @texts ~w(ink quiet accent ok warn bad rest)
  @grounds ~w(ground panel raised)
  @drawn ~w(edge chart-1 chart-2 chart-3 chart-4 chart-5 chart-6)

  for theme <- [:light, :dark] do
    test "text on its ground can be read (WCAG AA, #{theme})" do
      palette = Assets.palette(unquote(theme))
      for text <- @texts, ground <- @grounds, do: assert_contrast(palette, text, ground, 4.5)
      assert_contrast(palette, "on-accent", "accent", 4.5)
      assert_contrast(palette, "panel", "bad", 4.5)
    end

    test "lines that carry meaning can be seen (WCAG AA, #{theme})" do
      palette = Assets.palette(unquote(theme))
      for line <- @drawn, ground <- ~w(ground panel), do: assert_contrast(palette, line, ground, 3)
      # A meter's parts lie on its rail.
      for part <- ~w(accent ok warn bad ink), do: assert_contrast(palette, part, "raised", 3)
    end
  end

  test "both themes have the same colours" do
    assert Map.keys(Assets.palette(:light)) == Map.keys(Assets.palette(:dark))
  end

  test "every colour is the palette's" do
    for name <- Assets.names(".css") -- ["theme.css"],
        do: refute(Assets.read!(name) =~ ~r/#[0-9a-fA-F]{3,8}\b(?=[;\s])/, name)
  end

  test "what comes from outside never becomes markup" do
    for name <- Assets.names(".js") do
      refute Assets.read!(name) =~
               ~r/innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function/,
             name
    end
  end

  test "no address leads anywhere else" do
    for name <- Assets.names(".js") ++ Assets.names(".css") ++ ["index.html"] do
      addresses = ~r{(?:https?:)?//[\w.-]+\.\w+} |> Regex.scan(Assets.read!(name)) |> List.flatten()
      assert Enum.reject(addresses, &(&1 == "http://www.w3.org")) == [], name
    end
  end

  test "nothing of the page wants what its policy forbids" do
    page = Assets.read!("index.html")
    refute page =~ ~r/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=/

    for [_, name] <- Regex.scan(~r{(?:href|src)="assets/([^"]+)"}, page),
        do: assert(name in (Assets.names(".css") ++ Assets.names(".js")))
  end

  test "no file is longer than one can keep in mind" do
    for name <- Assets.names(""),
        name != "vendor",
        do: assert(length(String.split(Assets.read!(name), "\n")) < 400, name)
  end

  defp assert_contrast(palette, one, other, least) do
    contrast = Assets.contrast(palette[one], palette[other])
    assert contrast >= least, "#{one} on #{other} has a contrast of #{Float.round(contrast, 2)}"
  end
end
