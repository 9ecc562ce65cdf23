defmodule Kantoku.AgentPageTest do
  # What the page says of single agents: what they are called, why they do not serve, and what became of them.
  use Kantoku.InstanceCase, async: false
  import Kantoku.DashboardPage

  alias Kantoku.{Chromium, RawHTTP}

  @moduletag :browser
  @moduletag timeout: 300_000

  # A name that would do something wherever it became markup, and one with letters of two scripts, a slash and a percent sign.
  @markup ~s(<img src=x onerror="window.hurt = true">)
  @letters "é監 100%/2#?"

  defmodule Notebook do
    use Kantoku.Agent
    defstruct notes: []

    @impl true
    def new(_args), do: %__MODULE__{}

    @impl true
    def cmd(notebook, {:note, text}), do: {%{notebook | notes: [text | notebook.notes]}, [{:reply, :noted}]}
  end

  setup_all do
    instance =
      start!(
        http: RawHTTP.options(),
        trace: [sampler: :always_on],
        domains: [[name: :default, budget: [crashes: 2]]]
      )

    browser = start_supervised!(Chromium)
    worker!(instance, @markup)
    worker!(instance, @letters, tags: [:gpu], metadata: %{@markup => @letters})
    %{browser: browser, instance: instance, port: RawHTTP.port()}
  end

  setup %{browser: browser} do
    size(browser, 1280, 900)
    Chromium.forget(browser)
    :ok
  end

  defp agents!(browser, port) do
    enter!(browser, port)
    Chromium.forget(browser)
    go!(browser, "agents")
  end

  defp choose!(browser, id) do
    link =
      "[...document.querySelectorAll('section[aria-label=Agents] tbody a')].find((a) => a.textContent === #{js(id)})"

    wait!(browser, link)
    Chromium.eval(browser, "#{link}.click()")
    wait_text!(browser, "What became of it")
  end

  defp js(text), do: text |> Kantoku.JSON.encode() |> IO.iodata_to_binary()

  # The timeline's rows, newest first, as the texts of their parts.
  defp rows(browser),
    do:
      Chromium.eval(
        browser,
        "[...document.querySelectorAll('.timeline li')].map((li) => [...li.children].map((part) => part.textContent))"
      )

  defp eventually_row!(browser, fun), do: eventually(fn -> Enum.find(rows(browser), fun) end, 1_000)

  test "an agent is called as it is, whatever that is", %{browser: browser, port: port} do
    agents!(browser, port)

    for id <- [@markup, @letters] do
      go!(browser, "agents")
      choose!(browser, id)
      assert Chromium.eval(browser, "document.querySelector('#content h2').textContent") == id
      address = Chromium.eval(browser, "location.href")
      Chromium.call(browser, "Page.reload")
      wait!(browser, "document.querySelector('#content h2')?.textContent === #{js(id)}")
      assert Chromium.eval(browser, "location.href") == address
    end

    wait_text!(browser, "gpu")
    wait_text!(browser, @markup)
    assert Chromium.eval(browser, "document.querySelectorAll('#content img').length") == 0
    assert Chromium.eval(browser, "window.hurt === undefined")
    assert complaints(browser) == []
  end

  test "who was killed once too often is parked, and told why and how to end that", %{
    browser: browser,
    instance: instance,
    port: port
  } do
    {:ok, _pid} = Kantoku.start_agent(instance, Notebook, id: "ada")
    agents!(browser, port)
    choose!(browser, "ada")
    wait_text!(browser, "It serves: there is nothing to explain.")

    replaced!(instance, "ada")
    [_at, kind, text, _took] = eventually_row!(browser, fn [_, _, text, _] -> text =~ "agent.crashed" end)
    assert kind == "restart" and text =~ "crashes: 1"
    assert eventually_row!(browser, fn [_, kind, text, _] -> kind == "transition" and text =~ "agent.ready" end)

    for _ <- 1..2, do: kill(eventually(fn -> Kantoku.whereis(instance, "ada") end))
    eventually_error(instance, "ada", :parked)
    wait!(browser, "document.querySelector('.why strong')?.textContent === 'parked'")
    wait!(browser, "document.querySelector('.why code')?.textContent.includes('unpark')")
    assert eventually_row!(browser, fn [_, _, text, _] -> text =~ "agent.parked" end)
    assert complaints(browser) == []
  end

  test "snapshots and calls are told, with how long they took", %{browser: browser, instance: instance, port: port} do
    {:ok, _pid} = Kantoku.start_agent(instance, Notebook, id: "notes")
    agents!(browser, port)
    choose!(browser, "notes")
    wait_text!(browser, "Of its calls, those that a trace keeps.")
    {:ok, :noted} = Kantoku.call(instance, "notes", {:note, "buy milk"})
    [_at, _kind, text, took] = eventually_row!(browser, fn [_, kind, _, _] -> kind == "call" end)
    assert text =~ ~r/trace_id: [0-9a-f]{32}/ and took =~ ~r/^[\d.,]+ (µs|ms|s)$/
    assert eventually_row!(browser, fn [_, kind, _, _] -> kind == "snapshot" end)
    assert complaints(browser) == []
  end

  test "where no call is traced, it is said that none is to be expected", %{browser: browser, port: port} do
    silent = start!()
    worker!(silent, "ada")
    enter!(browser, port)
    Chromium.eval(browser, "location.hash = '#/#{silent}/agents'")
    choose!(browser, "ada")
    wait_text!(browser, "this instance traces none")
  end

  test "who takes the most is told, by what is chosen", %{browser: browser, instance: instance, port: port} do
    held = worker!(instance, "heavy")
    :ok = GenServer.cast(held, {:run, fn -> Process.put(:ballast, Enum.to_list(1..500_000)) end})
    agents!(browser, port)
    first = "document.querySelector('section[aria-label=\"The most\"] tbody tr td')?.textContent"
    wait!(browser, "#{first} === 'heavy'")
    wait!(browser, "document.querySelector('section[aria-label=\"The most\"] tbody .num').textContent.includes('MiB')")

    # It does not come to what it is sent.
    :ok = GenServer.cast(held, {:run, fn -> receive(do: (:go_on -> :ok)) end})
    for n <- 1..7, do: send(held, {:EXIT, self(), n})

    Chromium.eval(
      browser,
      "(document.getElementById('by').value = 'mailbox', document.getElementById('by').onchange({ target: document.getElementById('by') }))"
    )

    wait!(browser, "document.querySelector('section[aria-label=\"The most\"] thead .num')?.textContent === 'mailbox'")
    wait!(browser, "document.querySelector('section[aria-label=\"The most\"] tbody .num')?.textContent === '7'")
    send(held, :go_on)
    assert complaints(browser) == []
  end
end
