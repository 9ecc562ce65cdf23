defmodule Kantoku.DashboardTest do
  # The page in a real browser, Debian's `chromium`, over a fleet that has something of everything.
  use Kantoku.InstanceCase, async: false
  import Kantoku.DashboardPage

  alias Kantoku.{Alert, Breaker, Chromium, Migration, Pool, RawHTTP}

  @moduletag :browser
  @moduletag timeout: 300_000

  setup_all do
    instance = start!(Kantoku.Asking.everything() ++ [http: RawHTTP.options()])
    browser = start_supervised!(Chromium)
    for n <- 1..120, do: worker!(instance, "bee #{n}", domain: :default)
    worker!(instance, "ada", domain: :tools, tags: [:gpu], metadata: %{tenant: 7})
    :ok = Breaker.set({instance, :model}, :forced_open)

    :ok =
      Alert.put(instance,
        name: :down,
        condition: {:breaker, :model, :forced_open},
        for: 0,
        summary: "the model is cut off"
      )

    :ok = Migration.set(instance, :registry, :default, {:canary, 10})
    start_supervised!({Task, fn -> work(instance, 1) end})
    %{browser: browser, instance: instance, port: RawHTTP.port()}
  end

  setup %{browser: browser} do
    size(browser, 1280, 900)
    prefer(browser, "light")
    :ok
  end

  # Load for as long as somebody looks, and now and then a restart, of another one each time.
  defp work(instance, times) do
    for _ <- 1..20, do: Pool.call({instance, :writers}, :pid)
    if rem(times, 100) == 0, do: kill_one(Kantoku.whereis(instance, "bee #{rem(div(times, 100), 120) + 1}"))
    Process.sleep(10)
    work(instance, times + 1)
  end

  defp kill_one(pid), do: is_pid(pid) && Process.exit(pid, :kill)

  test "a wrong token sees nothing but the form", %{browser: browser, port: port} do
    open!(browser, port)
    Chromium.forget(browser)
    enter(browser, String.duplicate("x", 40))
    wait!(browser, "document.getElementById('token-why').textContent === 'This is not the token.'")
    assert Chromium.eval(browser, "document.getElementById('app').hidden")
    assert Chromium.eval(browser, "document.getElementById('content').childNodes.length") == 0
    assert Chromium.eval(browser, "sessionStorage.length") == 0
    refute text(browser) =~ "kantoku_test"
    assert Enum.map(requests(browser), &URI.parse(&1).path) == ["/api/v1/instances"]
  end

  test "each view shows what is so, and nothing goes wrong", %{browser: browser, instance: instance, port: port} do
    open!(browser, port)
    Chromium.forget(browser)
    go_in!(browser)

    wait!(browser, "parseFloat(document.querySelector('#tile-throughput .value').textContent) > 0")
    wait!(browser, "document.querySelectorAll('.picture path').length > 0")
    # How long of late is, once there is something to compare with.
    wait!(browser, "/^one in 100 is slower, in \\d+.s$/.test(document.querySelector('#tile-p99 .more').textContent)")
    wait!(browser, "/in \\d+/.test(document.querySelector('#tile-restarts .value small').textContent)")

    for text <- ["tools", "inner", "within tools", "pool writers", "of at most 4", "meant to be", "1 open"],
        do: wait_text!(browser, text)

    wait!(browser, "document.querySelectorAll('.chart canvas, .chart .listing tbody tr').length >= 7")
    before = Chromium.eval(browser, "document.getElementById('status').textContent")
    wait!(browser, "document.getElementById('status').textContent !== '#{before}'")

    go!(browser, "pools")

    for text <- ["writers", "1 to 4", "{:pool, :writers, 0}", "stays at 2", "Requests in work or waiting"],
        do: wait_text!(browser, text)

    wait!(browser, "document.querySelectorAll('.chart canvas, .chart .listing tbody tr').length >= 3")

    go!(browser, "agents")
    wait_text!(browser, "123 found")
    wait!(browser, "document.querySelectorAll('section tbody tr').length > 50")

    go!(browser, "breakers")
    for text <- ["model", "forced open"], do: wait_text!(browser, text)

    go!(browser, "objectives")

    for text <- ["answers", "99.9 %", "budget left", "1 h and 5 min, known for", "30 d, known for"],
        do: wait_text!(browser, text)

    go!(browser, "alerts")
    for text <- ["down", "firing", "the model is cut off"], do: wait_text!(browser, text)

    go!(browser, "events")
    wait!(browser, "document.getElementById('tail-state').textContent.startsWith('live')")
    :ok = Breaker.set({instance, :model}, :metrics_only)
    wait_text!(browser, "breaker.")
    :ok = Breaker.set({instance, :model}, :forced_open)

    go!(browser, "migration")
    for text <- ["canary", "10 %"], do: wait_text!(browser, text)

    assert complaints(browser) == []
    assert Enum.reject(requests(browser), &String.starts_with?(&1, "http://localhost:#{port}/")) == []
    refute Enum.any?(requests(browser), &(&1 =~ RawHTTP.token()))
  end

  test "agents are found by a query, page by page, and one of them is told all of", %{browser: browser, port: port} do
    enter!(browser, port)
    go!(browser, "agents")
    wait_text!(browser, "123 found")

    assert Chromium.eval(
             browser,
             "document.querySelector('section[aria-label=Agents]').querySelectorAll('tbody tr').length"
           ) == 50

    press(browser, "]")
    wait_text!(browser, "Page 2")
    press(browser, "]")
    wait!(browser, "document.querySelector('section[aria-label=Agents]').querySelectorAll('tbody tr').length === 23")

    press(browser, "/")
    Chromium.call(browser, "Input.insertText", %{text: "tag:gpu"})
    press(browser, "Enter")
    wait_text!(browser, "1 found")
    press(browser, "Escape")

    Chromium.eval(browser, "document.querySelector('section[aria-label=Agents] tbody a').click()")
    for text <- ["ada", "gpu", "tenant", "What became of it", "All agents"], do: wait_text!(browser, text)

    go!(browser, "agents")
    wait!(browser, "document.getElementById('q') !== null")
    press(browser, "/")
    Chromium.eval(browser, "document.getElementById('q').select()")
    Chromium.call(browser, "Input.insertText", %{text: "colour:red"})
    press(browser, "Enter")
    wait!(browser, "document.getElementById('query-wrong')?.textContent.includes('expected')")
  end

  test "counts of the overview lead to the agents that they are of", %{browser: browser, port: port} do
    enter!(browser, port)
    wait!(browser, "document.querySelector('[data-key=domain-tools] .legend a') !== null")
    # Its only member of its own is healthy, sooner or later.
    healthy =
      "[...document.querySelectorAll('[data-key=domain-tools] .legend a')].find((a) => a.textContent.endsWith(' healthy'))"

    wait!(browser, healthy <> " !== undefined")
    Chromium.eval(browser, "#{healthy}.click()")
    wait!(browser, ~s|document.getElementById('q')?.value === 'domain:"tools" health:healthy'|)
    wait_text!(browser, "1 found")
    wait_text!(browser, "ada")
    Chromium.eval(browser, "(q => { q.value = 'phase:parked'; q.form.requestSubmit(); })(document.getElementById('q'))")
    wait_text!(browser, "0 found")
    wait_text!(browser, "No agent is like that.")
    # What was looked for stays with the view.
    Chromium.eval(browser, "(q => { q.value = ''; q.form.requestSubmit(); })(document.getElementById('q'))")
    wait_text!(browser, "123 found")
  end

  test "a pool is told all of, with its own history", %{browser: browser, port: port} do
    enter!(browser, port)
    Chromium.forget(browser)
    go!(browser, "pools/writers")
    for text <- ["stays at 2", "{:pool, :writers, 0}"], do: wait_text!(browser, text)
    wait!(browser, "document.querySelectorAll('.chart canvas, .chart .listing tbody tr').length >= 1")
    assert Enum.any?(requests(browser), &(&1 =~ "/api/v1/history?" and &1 =~ "pool=writers"))
    assert Enum.any?(requests(browser), &(&1 =~ "/api/v1/pools?" and &1 =~ "name=writers"))
    go!(browser, "pools/nobody")
    wait_text!(browser, "There is no pool nobody.")
  end

  test "all of it is in reach of the keyboard", %{browser: browser, port: port} do
    enter!(browser, port)
    focused = "document.activeElement"
    Chromium.eval(browser, "document.activeElement.blur()")
    press(browser, "Tab")
    assert Chromium.eval(browser, "#{focused}.className") == "skip"

    Chromium.eval(browser, "document.getElementById('zone').disabled = false")

    order =
      for _ <- 1..6, do: press(browser, "Tab") && Chromium.eval(browser, "#{focused}.id || #{focused}.textContent")

    assert order == ["instance", "zone", "theme", "help", "leave", "Overview"]

    for {view, n} <- Enum.with_index(views(), 1) do
      press(browser, "#{n}")
      wait!(browser, "location.hash.endsWith('/#{view}')")
    end

    press(browser, "?")
    wait!(browser, "document.getElementById('keys').open")
    press(browser, "1")
    press(browser, "Escape")
    wait!(browser, "!document.getElementById('keys').open")
    assert String.ends_with?(Chromium.eval(browser, "location.hash"), "/migration")

    press(browser, "t")
    wait!(browser, "document.documentElement.dataset.theme === 'dark'")
    press(browser, "t")
    wait!(browser, "document.documentElement.dataset.theme === 'light'")
    prefer(browser, "dark")
    wait!(browser, "document.documentElement.dataset.theme === 'dark'")
  end

  test "what is looked at keeps its focus while it is brought up to date", %{browser: browser, port: port} do
    enter!(browser, port)
    Chromium.eval(browser, "document.getElementById('range-3600').focus()")
    before = Chromium.eval(browser, "document.getElementById('status').textContent")
    wait!(browser, "document.getElementById('status').textContent !== '#{before}'")
    assert Chromium.eval(browser, "document.activeElement.id") == "range-3600"
    button = "document.querySelector('[data-key=throughput] button')"
    Chromium.eval(browser, "(#{button}.focus(), #{button}.click())")
    wait!(browser, "document.querySelector('[data-key=throughput] .listing td')")
    assert Chromium.eval(browser, "document.activeElement === #{button}")
  end

  for scheme <- ~w(light dark) do
    test "texts and pictures can be read, and nothing is wider than a phone (#{scheme})", %{
      browser: browser,
      port: port
    } do
      prefer(browser, unquote(scheme))
      open!(browser, port)
      assert faint(browser) == []
      enter!(browser, port)

      for view <- views(), width <- [1280, 375] do
        size(browser, width, 812)
        go!(browser, view)
        assert {view, width, faint(browser)} == {view, width, []}
        assert {view, width, pale(browser)} == {view, width, []}
        assert {view, Chromium.eval(browser, "document.documentElement.scrollWidth")} == {view, width}
      end
    end
  end

  test "leaving forgets the token and what was seen", %{browser: browser, port: port} do
    enter!(browser, port)
    Chromium.eval(browser, "document.getElementById('leave').click()")
    wait!(browser, "!document.getElementById('gate').hidden")
    assert Chromium.eval(browser, "sessionStorage.length") == 0
    refute text(browser) =~ "kantoku_test"
  end
end
