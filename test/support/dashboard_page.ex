defmodule Kantoku.DashboardPage do
  @moduledoc """
  The dashboard in a browser, as somebody sits before it.
  """

  alias Kantoku.{Chromium, RawHTTP, TestOwner}

  # How often a look is taken before it is given up, a hundredth of a second and what a look takes apart.
  @looks 3_000

  @views ~w(overview pools agents breakers objectives alerts events migration)

  @doc "The views, from left to right."
  def views, do: @views

  @doc "Opens the page in a tab that knows no token."
  def open!(browser, port) do
    Chromium.call(browser, "Page.navigate", %{url: "http://localhost:#{port}/"})
    wait!(browser, "document.readyState === 'complete' && location.port === '#{port}'")
    Chromium.eval(browser, "sessionStorage.clear(); localStorage.clear()")
    Chromium.call(browser, "Page.navigate", %{url: "http://localhost:#{port}/?#{System.unique_integer([:positive])}"})
    wait!(browser, "document.getElementById('gate')?.hidden === false")
  end

  @doc "Gives a token, and goes in."
  def enter(browser, token \\ RawHTTP.token()) do
    Chromium.eval(browser, "document.getElementById('token').focus()")
    Chromium.call(browser, "Input.insertText", %{text: token})
    press(browser, "Enter")
  end

  @doc "The page, opened and entered."
  def enter!(browser, port) do
    open!(browser, port)
    go_in!(browser)
  end

  @doc "Enters with the right token, and waits for what is shown first."
  def go_in!(browser) do
    enter(browser)
    wait!(browser, "!document.getElementById('app').hidden && document.querySelectorAll('.tile').length > 0")
  end

  @doc "Goes to a view of the instance that is looked at, and waits for what it shows first."
  def go!(browser, view) do
    Chromium.eval(browser, "location.hash = '#/#{view}'")
    wait!(browser, "document.querySelector('#nav [aria-current]')?.dataset.key === '#{hd(String.split(view, "/"))}'")

    wait!(browser, "!document.getElementById('content').textContent.includes('Looking …')")
  end

  @doc "Waits until an expression is true on the page."
  def wait!(browser, expression) do
    TestOwner.eventually(fn -> Chromium.eval(browser, "Boolean(#{expression})") end, @looks)
  rescue
    _late -> raise "it did not become so: #{expression}; the page says: #{text(browser)}"
  end

  @doc "Waits until the view holds a text."
  def wait_text!(browser, text),
    do: wait!(browser, "document.getElementById('content')?.innerText.includes(#{inspect(text)})")

  @doc "All that is to be read."
  def text(browser), do: Chromium.eval(browser, "document.body.innerText")

  @doc "Presses a key and lets it go."
  def press(browser, key) do
    typed = if String.length(key) == 1, do: %{text: key}, else: named(key)
    Chromium.call(browser, "Input.dispatchKeyEvent", Map.merge(%{type: "keyDown", key: key}, typed))
    Chromium.call(browser, "Input.dispatchKeyEvent", %{type: "keyUp", key: key})
  end

  defp named("Enter"), do: %{text: "\r", windowsVirtualKeyCode: 13, code: "Enter"}
  defp named("Tab"), do: %{windowsVirtualKeyCode: 9, code: "Tab"}
  defp named("Escape"), do: %{windowsVirtualKeyCode: 27, code: "Escape"}

  @doc "A window of so many pixels."
  def size(browser, width, height) do
    Chromium.call(browser, "Emulation.setDeviceMetricsOverride", %{
      width: width,
      height: height,
      deviceScaleFactor: 1,
      mobile: width < 500
    })
  end

  @doc "What the system prefers: `dark` or `light`."
  def prefer(browser, scheme),
    do:
      Chromium.call(browser, "Emulation.setEmulatedMedia", %{features: [%{name: "prefers-color-scheme", value: scheme}]})

  @doc "Has a script run before any of the page's, from the next time that it is opened; what `forego/2` takes."
  def beforehand(browser, script),
    do: Chromium.call(browser, "Page.addScriptToEvaluateOnNewDocument", %{source: script})["identifier"]

  @doc "Has it run no more."
  def forego(browser, identifier),
    do: Chromium.call(browser, "Page.removeScriptToEvaluateOnNewDocument", %{identifier: identifier})

  @doc "What the page complained of: exceptions, errors on its console, what could not be loaded or was forbidden."
  def complaints(browser) do
    for {name, told} <- Chromium.told(browser), complaint = complaint(name, told), do: complaint
  end

  defp complaint("Runtime.exceptionThrown", %{"exceptionDetails" => details}), do: inspect(details)
  defp complaint("Log.entryAdded", %{"entry" => %{"level" => "error"} = entry}), do: "#{entry["text"]} #{entry["url"]}"

  defp complaint("Runtime.consoleAPICalled", %{"type" => type} = told) when type in ~w(error warning assert),
    do: inspect(told)

  defp complaint(_name, _told), do: nil

  @doc "All addresses that were asked for over the network."
  def requests(browser) do
    for {"Network.requestWillBeSent", %{"request" => %{"url" => url}}} <- Chromium.told(browser),
        not String.starts_with?(url, ["data:", "about:"]),
        do: url
  end

  @doc "Parts of pictures that carry meaning and whose contrast with what is around them is below 3 (WCAG AA, 1.4.11)."
  def pale(browser), do: Chromium.eval(browser, "(#{pale_parts()})()")

  # What a part is seen by is its outline, or its fill. A meter's parts lie on its rail, and all of them in a panel.
  defp pale_parts do
    """
    () => {
      #{luminance()}
      const seen = (e) => {
        const style = getComputedStyle(e);
        const strength = Number(style.opacity);
        const part = style.stroke !== "none" ? [style.stroke, strength * style.strokeOpacity] : [style.fill, strength * style.fillOpacity];
        return { colour: parts(part[0]), strength: part[1] };
      };
      const over = ({ colour, strength }, below) => colour.slice(0, 3).map((c, n) => c * strength + below[n] * (1 - strength));
      const rail = (e) => e.closest(".meter")?.querySelector(".rail");
      const meant = ".meter .rail, .meter .full, .meter .ready, .meter .mark, .spark .line, .picture path, .badge path, .legend path";
      return [...document.querySelectorAll(meant)].filter((e) => e.checkVisibility()).flatMap((e) => {
        const around = [ground(e), ...(rail(e) && rail(e) !== e ? [parts(getComputedStyle(rail(e)).fill)] : [])];
        return around.map((colour) => ({ part: e.getAttribute("class"), ratio: contrast(over(seen(e), colour), colour) }));
      }).filter(({ ratio }) => ratio < 3);
    }
    """
  end

  defp luminance do
    """
    const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const parts = (c) => c.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const contrast = (one, other) => {
      const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05);
    };
    const ground = (e) => {
      for (; e; e = e.parentElement) {
        const colour = parts(getComputedStyle(e).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    """
  end

  @doc "Texts that are there to be read and whose contrast with their ground is below 4.5, or 3 where they are large (WCAG AA)."
  def faint(browser), do: Chromium.eval(browser, "(#{faint_texts()})()")

  # An element's ground is that of the nearest around it that has one.
  defp faint_texts do
    """
    () => {
      #{luminance()}
      const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
      return [...document.querySelectorAll("body *")].filter((e) => own(e) && !e.closest("svg, noscript, script, [disabled]") && e.checkVisibility()).map((e) => {
        const style = getComputedStyle(e);
        const size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        return { text: e.textContent.trim().slice(0, 40), ratio: contrast(parts(style.color), ground(e)), least: large ? 3 : 4.5 };
      }).filter(({ ratio, least }) => ratio < least);
    }
    """
  end
end
