# The pictures of the guides, and those of all other views to look at: the dashboard over the real demo, in a surge and under faults.
# `bin/screenshots` runs it.
import Kantoku.DashboardPage

alias Kantoku.Api.{Shown, Timeline}
alias Kantoku.Chromium

Code.require_file("../../demo/load.exs", __DIR__)

guides = Path.join("guides", "assets")
others = Path.join("_build", "screenshots")
File.mkdir_p!(others)

# {folder, file, view, scheme, width, height}
pictures = [
  {guides, "dashboard-dark", "overview", "dark", 1280, 960},
  {guides, "dashboard-light", "overview", "light", 1280, 960},
  {guides, "dashboard-pools", "pools/read", "dark", 1280, 960},
  {guides, "dashboard-agents", "agents", "light", 1280, 760},
  {guides, "dashboard-agent", :agent, "light", 1280, 760},
  {others, "dashboard-breakers", "breakers", "dark", 1280, 400},
  {guides, "dashboard-objectives", "objectives", "light", 1280, 520},
  {guides, "dashboard-alerts", "alerts", "dark", 1280, 400},
  {others, "dashboard-events", "events", "dark", 1280, 700},
  {others, "dashboard-migration", "migration", "light", 1280, 400},
  {guides, "dashboard-phone", "overview", "dark", 375, 812},
  {others, "dashboard-phone-pools", "pools/extract", "light", 375, 812},
  {others, "dashboard-phone-agents", "agents", "dark", 375, 812},
  {others, "dashboard-phone-objectives", "objectives", "dark", 375, 812},
  {others, "dashboard-phone-whole", "overview", "light", 375, 3600}
]

seconds = 160
port = 9465
folder = Path.join(System.tmp_dir!(), "kantoku-screenshots")
System.put_env("XDG_CONFIG_HOME", folder)

demo =
  Task.async(fn ->
    apply(Demo.Console, :run, [~w(lib --agents 400 --faults --surge --seconds #{seconds} --http #{port})])
  end)

Kantoku.TestOwner.eventually(fn -> File.exists?(Path.join(folder, "kantoku/token")) end, 6_000)
token = folder |> Path.join("kantoku/token") |> File.read!() |> String.trim()
{:ok, browser} = Chromium.start_link()

enter_when_served = fn ->
  open!(browser, port)
  enter(browser, token)
  wait!(browser, "document.querySelectorAll('.tile').length > 0")
end

Kantoku.TestOwner.eventually(fn -> match?(%{port: ^port}, Kantoku.Exporters.status().http) end, 6_000)
enter_when_served.()
[instance] = Kantoku.Instances.names()

# One that does not serve, and of which most kinds of things are known; as it is soon brought back, any that has most.
told_of = fn id ->
  Timeline.of(Shown.text(instance), Shown.key(id)) |> Enum.map(& &1.kind) |> Enum.uniq() |> length()
end

not_serving = fn id -> match?({:ok, [_ | _]}, Kantoku.why(instance, id)) end

agent = fn ->
  ids = for kind <- [:read, :extract, :index], number <- 0..99, do: {:pool, kind, number}
  Enum.max_by(ids, &{not_serving.(&1), told_of.(&1)})
end

# The surge is in the middle.
Process.sleep(div(seconds * 1_000, 2) + 3_000)

for {folder, file, view, scheme, width, height} <- pictures do
  prefer(browser, scheme)
  size(browser, width, height)
  go!(browser, if(view == :agent, do: "agents/" <> Shown.key(agent.()), else: view))
  Process.sleep(2_500)
  # A machine that is busy enough answers late.
  wait!(browser, "!document.querySelector('#content > .note, #status .bad')")
  %{"data" => data} = Chromium.call(browser, "Page.captureScreenshot", %{format: "png", optimizeForSpeed: false})
  File.write!(Path.join(folder, file <> ".png"), Base.decode64!(data))
end

0 = Task.await(demo, :infinity)
GenServer.stop(browser)
File.rm_rf!(folder)
