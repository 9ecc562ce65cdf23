defmodule Kantoku.PageTroublesTest do
  # The page while things go wrong around it: a token that ends, a server that goes and comes back, clocks that differ, instances that come.
  use Kantoku.InstanceCase, async: false
  import Kantoku.DashboardPage

  alias Kantoku.{Alert, Breaker, Chromium, RawHTTP}

  @moduletag :browser
  @moduletag timeout: 300_000

  @plots "(window.uPlot ? uPlot.sync('kantoku').plots.length : document.querySelectorAll('.chart .listing').length)"

  setup_all do
    %{browser: start_supervised!(Chromium)}
  end

  setup %{browser: browser} do
    instance = start!(Kantoku.Asking.everything() ++ [http: RawHTTP.options()])
    size(browser, 1280, 900)
    Chromium.call(browser, "Emulation.setTimezoneOverride", %{timezoneId: "Asia/Tokyo"})
    %{instance: instance, port: RawHTTP.port()}
  end

  defp status(browser), do: Chromium.eval(browser, "document.getElementById('status').textContent")
  defp came(browser), do: Chromium.eval(browser, "document.querySelectorAll('.tail li:not(.gap)').length")
  defp click(browser, id), do: Chromium.eval(browser, "document.getElementById('#{id}').click()")

  defp happen(instance, times),
    do: for(_ <- 1..times, state <- [:metrics_only, :forced_open], do: :ok = Breaker.set({instance, :model}, state))

  defp listening!(browser, instance) do
    go!(browser, "events")
    wait!(browser, "document.getElementById('tail-state').textContent.startsWith('live')")
    happen(instance, 1)
    wait!(browser, "document.querySelector('.tail')?.textContent.includes('breaker.')")
  end

  # Whether the page is to believe that nobody looks at it.
  defp hide(browser, hidden?) do
    Chromium.eval(browser, """
    (Object.defineProperty(document, 'hidden', { value: #{hidden?}, configurable: true }), document.dispatchEvent(new Event('visibilitychange')))
    """)
  end

  test "charts that are not looked at any more are held by nothing", %{browser: browser, port: port} do
    enter!(browser, port)
    wait!(browser, "document.querySelectorAll('.chart canvas, .chart .listing tbody tr').length >= 3")

    Chromium.eval(browser, """
    (async () => {
      const shown = async (view) => {
        location.hash = `#/${view}`;
        const there = () => document.querySelector(view === "pools" ? "#chart-pool-size" : "#chart-cpu")?.childElementCount > 0;
        while (!there()) await new Promise((done) => setTimeout(done, 5));
      };
      for (let n = 0; n < 50; n += 1) {
        await shown("pools");
        await shown("overview");
      }
    })()
    """)

    assert Chromium.eval(browser, @plots) in 1..7
    Chromium.eval(browser, "document.querySelectorAll('.chart button').forEach((button) => button.click())")
    wait!(browser, "document.querySelectorAll('.chart .listing[tabindex]').length === 7")
    assert Chromium.eval(browser, "window.uPlot ? uPlot.sync('kantoku').plots.length : 0") == 0
  end

  test "a token that is no longer right ends the session, and the right one goes on where it was", %{
    browser: browser,
    port: port
  } do
    enter!(browser, port)
    go!(browser, "breakers")
    Chromium.eval(browser, "sessionStorage.setItem('kantoku.token', 'another-one-of-16-or-more')")
    wait!(browser, "document.getElementById('gate').hidden === false")
    assert Chromium.eval(browser, "document.getElementById('token-why').textContent") == "The token is no longer right."
    refute text(browser) =~ "kantoku_test"
    enter(browser)
    wait_text!(browser, "Times opened")
  end

  test "while the server is gone the page says so, and goes on when it is back", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    enter!(browser, port)
    go!(browser, "breakers")
    wait_text!(browser, "model")
    :ok = stop_supervised!(instance)
    wait!(browser, "document.getElementById('status').textContent.includes('There is no answer from the server.')")
    assert status(browser) =~ ~r/What is shown is of \d\d:\d\d:\d\d\./
    assert text(browser) =~ "model"

    start_again!(instance, port)
    wait!(browser, "document.getElementById('status').textContent.startsWith('as of')")
    wait_text!(browser, "no breakers")
  end

  test "events say what they did not hear of, and since when they hear nothing", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    enter!(browser, port)
    listening!(browser, instance)
    :ok = stop_supervised!(instance)
    wait!(browser, "document.getElementById('status').textContent.includes('What is shown is of')")
    since = status(browser)
    wait!(browser, "document.getElementById('tail-state').textContent.includes('tried again')")
    assert status(browser) == since
    start_again!(instance, port)
    wait!(browser, "document.querySelector('.tail .gap')?.textContent.startsWith('Nobody listened from')")
    wait!(browser, "document.getElementById('status').textContent.startsWith('as of')")
  end

  test "events that come while they are held wait, and those beyond that are counted", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    enter!(browser, port)
    listening!(browser, instance)
    Chromium.eval(browser, "document.getElementById('match').value = 'breaker.'")
    Chromium.eval(browser, "document.querySelector('.search').requestSubmit()")
    wait!(browser, "document.querySelectorAll('.tail li').length === 0")
    wait!(browser, "document.getElementById('tail-state').textContent.startsWith('live')")
    happen(instance, 1)
    wait!(browser, "document.querySelectorAll('.tail li').length >= 2")
    before = came(browser)

    click(browser, "pause")
    happen(instance, 2)
    wait!(browser, "/^held, [1-9]/.test(document.getElementById('tail-state').textContent)")
    assert came(browser) == before
    click(browser, "pause")
    wait!(browser, "document.querySelectorAll('.tail li:not(.gap)').length > #{before}")
    assert Chromium.eval(browser, "document.querySelector('.tail .gap')") == nil

    click(browser, "pause")

    eventually(fn ->
      happen(instance, 20)

      Chromium.eval(
        browser,
        "Number(/held, ([\\d,]+)/.exec(document.getElementById('tail-state').textContent)?.[1].replace(',', '') ?? 0) > 520"
      )
    end)

    click(browser, "pause")
    wait!(browser, "/came while this was held/.test(document.querySelector('.tail .gap')?.textContent)")
    assert came(browser) <= 500
  end

  test "nobody listens while nobody looks", %{browser: browser, instance: instance, port: port} do
    enter!(browser, port)
    listening!(browser, instance)
    hide(browser, true)
    eventually(fn -> Kantoku.Native.exporters_readers() == 0 end)
    Chromium.forget(browser)
    Process.sleep(2_500)
    assert requests(browser) == []
    hide(browser, false)
    wait!(browser, "document.querySelector('.tail .gap')?.textContent.startsWith('Nobody listened from')")
    assert Kantoku.Native.exporters_readers() == 1
  end

  test "an instance is in the address, and nothing of one is shown of another", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    other = start!()
    worker!(other, "bob")
    enter!(browser, port)
    listening!(browser, instance)

    Chromium.eval(browser, """
    (document.getElementById('instance').value = '#{other}', document.getElementById('instance').dispatchEvent(new Event('change')))
    """)

    wait!(browser, "location.hash === '#/#{other}/events'")
    # It may have events of its own by now.
    wait!(browser, "!document.getElementById('content').textContent.includes('breaker.')")
    wait!(browser, "document.getElementById('tail-state').textContent.startsWith('live')")

    go!(browser, "agents")
    wait_text!(browser, "bob")
    assert Chromium.eval(browser, "location.hash") == "#/#{other}/agents"
    Chromium.eval(browser, "document.querySelector('section[aria-label=Agents] tbody a').click()")
    wait_text!(browser, "What became of it")
    Chromium.call(browser, "Page.reload")
    wait_text!(browser, "What became of it")
    assert Chromium.eval(browser, "document.getElementById('instance').value") == Atom.to_string(other)

    Chromium.eval(browser, "location.hash = '#/nobody/pools'")
    wait!(browser, "document.querySelector('#content .note')")

    assert Chromium.eval(browser, "document.getElementById('instance').selectedOptions[0].textContent") ==
             "nobody (not here)"
  end

  test "instances that come while somebody looks can be chosen", %{browser: browser, port: port} do
    # They are asked for twice a minute, by a clock that is fast here.
    script = beforehand(browser, "performance.now = ((now) => () => now() * 20)(performance.now.bind(performance))")
    enter!(browser, port)
    other = start!()
    wait!(browser, "[...document.getElementById('instance').options].some(({ value }) => value === '#{other}')")
    forego(browser, script)
  end

  test "an alert is told to whoever does not see it, in whatever view", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    enter!(browser, port)
    wait!(browser, "document.title === 'Overview · Kantoku'")
    go!(browser, "migration")
    :ok = Breaker.set({instance, :model}, :forced_open)

    :ok =
      Alert.put(instance, name: :down, condition: {:breaker, :model, :forced_open}, for: 0, summary: "it is cut off")

    wait!(browser, "document.title === '(1) Migration · Kantoku'")
    wait!(browser, "document.getElementById('news').textContent === '1 alert fires now.'")
    assert Chromium.eval(browser, "document.querySelector('#nav [data-key=alerts] .count').textContent") == "1"
    :ok = Breaker.set({instance, :model}, :closed)
    wait!(browser, "document.getElementById('news').textContent === 'No alert fires any more.'")
    wait!(browser, "document.title === 'Migration · Kantoku'")
  end

  test "times are the server's, in a zone that is named and can be chosen", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    # This machine is an hour fast, and says that it is in Tokyo.
    script = beforehand(browser, "Date.now = ((now) => () => now() + 3600000)(Date.now)")
    worker!(instance, "ada")
    enter!(browser, port)
    forego(browser, script)
    assert Chromium.eval(browser, "document.getElementById('zone').textContent") == "UTC+9"
    tokyo = DateTime.utc_now() |> DateTime.add(9 * 3_600, :second)
    assert seconds_of(status(browser)) in near(tokyo)

    go!(browser, "agents")
    wait!(browser, "document.querySelector('section[aria-label=Agents] td:last-child')")
    # Not an hour.
    refute Chromium.eval(browser, "document.querySelector('section[aria-label=Agents] tbody').textContent") =~
             ~r/\d (min|h) ago/

    press(browser, "u")
    wait!(browser, "document.getElementById('zone').textContent === 'UTC'")
    wait!(browser, "document.getElementById('zone').title === 'Times are of UTC'")
    before = status(browser)
    wait!(browser, "document.getElementById('status').textContent !== '#{before}'")
    assert seconds_of(status(browser)) in near(DateTime.utc_now())
  end

  test "workers that are gone for a moment are missing, and no decision", %{browser: browser, port: port} do
    enter!(browser, port)

    text =
      Chromium.eval(browser, """
      import(new URL('assets/pools.js', document.baseURI)).then(({ default: view }) => {
        const decided = [[187, 200], [200, 200], [150, 200], [150, 150]].map(([from, to], n) => ({ at: 1000 - n, from, to, reasons: [] }));
        const pool = { name: "read", size: 187, target: 200, min: 100, max: 300, busy: 1, ready: 187, waiting: 0, state: "scaling", workers: [], workers_total: 0, decisions: decided };
        const place = document.createElement("div");
        place.append(...view.draw({ pools: [pool], total: 1, one: pool, past: { series: [] } }, { of: null, redraw() {}, again() {} }).flat(Infinity).filter(Boolean));
        const decisions = [...place.querySelectorAll(".decisions > li > :nth-child(2)")].map((part) => part.textContent);
        return [place.querySelector("td:nth-child(3)").textContent, ...decisions];
      })
      """)

    assert text == ["187, 13 missing", "stays at 200, 187 are there", "stays at 200", "150 → 200", "stays at 150"]
  end

  test "an address of a view alone is of the instance one is at, and an instance may be called like a view", %{
    browser: browser,
    port: port
  } do
    enter!(browser, port)

    read = fn address ->
      Chromium.eval(browser, """
      import(new URL('assets/address.js', document.baseURI)).then(({ read }) => {
        const { instance, view, of } = read('#{address}', ['pools', 'a/b'], ['overview', 'pools', 'agents']);
        return [instance, view, of];
      })
      """)
    end

    assert read.("") == [nil, "overview", nil]
    assert read.("#/agents/x%2Fy") == [nil, "agents", "x/y"]
    assert read.("#/a%2Fb/agents") == ["a/b", "agents", nil]
    assert read.("#/pools") == ["pools", "overview", nil]
    assert read.("#/pools/pools/read") == ["pools", "pools", "read"]
    assert read.("#/gone/agents/%E0%A4%A") == ["gone", "agents", "%E0%A4%A"]
  end

  test "a time of another day says which", %{browser: browser, port: port} do
    enter!(browser, port)

    written =
      Chromium.eval(browser, """
      import(new URL('assets/times.js', document.baseURI)).then(({ clock, now }) => [clock(now()), clock(now() - 86400 * 2), clock(86400 * 366)])
      """)

    assert [today, before, long_ago] = written
    assert today =~ ~r/^\d\d:\d\d:\d\d$/
    assert before =~ ~r/^\d+ [A-Z][a-z]+ (\d{4} )?\d\d:\d\d:\d\d$/
    assert long_ago == "2 Jan 1971 09:00:00"
  end

  defp start_again!(instance, port) do
    start_supervised!({Kantoku, name: instance, http: RawHTTP.options(port: port)}, id: instance)
  end

  defp seconds_of(status) do
    [_, hours, minutes, seconds] = Regex.run(~r/(\d\d):(\d\d):(\d\d)/, status)
    String.to_integer(hours) * 3_600 + String.to_integer(minutes) * 60 + String.to_integer(seconds)
  end

  # Seconds of the day around a time, as a busy machine is late.
  defp near(time) do
    now = time.hour * 3_600 + time.minute * 60 + time.second
    for second <- (now - 20)..(now + 5)//1, do: Integer.mod(second, 86_400)
  end
end
