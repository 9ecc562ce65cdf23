# The pictures of the guides: the dashboard over the real demo, in a surge and under faults. `bin/screenshots` runs it.
import Kantoku.DashboardPage

alias Kantoku.Chromium

Code.require_file("../../demo/load.exs", __DIR__)

# {file, view, scheme, width, height}
pictures = [
  {"dashboard-dark", "overview", "dark", 1280, 960},
  {"dashboard-light", "overview", "light", 1280, 960},
  {"dashboard-pools", "pools/read", "dark", 1280, 960},
  {"dashboard-objectives", "objectives", "light", 1280, 520},
  {"dashboard-phone", "overview", "dark", 375, 812}
]

seconds = 120
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

# The surge is in the middle.
Process.sleep(div(seconds * 1_000, 2) + 3_000)

for {file, view, scheme, width, height} <- pictures do
  prefer(browser, scheme)
  size(browser, width, height)
  go!(browser, view)
  Process.sleep(2_500)
  %{"data" => data} = Chromium.call(browser, "Page.captureScreenshot", %{format: "png", optimizeForSpeed: false})
  File.write!(Path.join(["guides", "assets", file <> ".png"]), Base.decode64!(data))
end

0 = Task.await(demo, :infinity)
GenServer.stop(browser)
File.rm_rf!(folder)
