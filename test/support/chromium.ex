defmodule Kantoku.Chromium do
  @moduledoc """
  A browser without a window, told what to do by Chromium's own protocol (https://chromedevtools.github.io/devtools-protocol/) over two pipes. It
  ends with the process that started it.
  """
  use GenServer

  alias Kantoku.{JSON, JSONReader, TestOwner}

  @patience 30_000
  @programs ~w(chromium chromium-browser google-chrome)

  # Nothing of its own is looked up or fetched; no other host is found.
  @switches ~w(--headless=new --remote-debugging-pipe --no-first-run --disable-gpu --disable-dev-shm-usage --disable-extensions
               --hide-scrollbars --disable-background-networking --disable-component-update --disable-sync --mute-audio) ++
              ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"]

  @doc "The program, or `nil`."
  def program, do: Enum.find_value(@programs, &System.find_executable/1)

  @doc "Starts one, with a page; what it keeps in files is gone when it ends."
  def start_link(_arg \\ []), do: GenServer.start_link(__MODULE__, nil)

  @doc "Has the page do something; what comes of it. Raises where it refuses."
  def call(browser, method, params \\ %{}) do
    case GenServer.call(browser, {:call, method, params}, @patience) do
      {:ok, result} -> result
      {:error, message} -> raise "#{method}: #{message}"
    end
  end

  @doc "What an expression comes to on the page; a promise is waited for."
  def eval(browser, expression) do
    answer = call(browser, "Runtime.evaluate", %{expression: expression, awaitPromise: true, returnByValue: true})
    if details = answer["exceptionDetails"], do: raise("#{expression}: #{inspect(details)}")
    answer["result"]["value"]
  end

  @doc "What the page has told of itself since `forget/1`: names of events with their data, the oldest first."
  def told(browser), do: GenServer.call(browser, :told, @patience)

  @doc "Forgets what was told."
  def forget(browser), do: GenServer.call(browser, :forget, @patience)

  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    folder = Path.join(System.tmp_dir!(), "kantoku-browser-#{System.pid()}-#{System.unique_integer([:positive])}")

    port =
      Port.open({:spawn_executable, System.find_executable("sh")}, [
        :nouse_stdio,
        :binary,
        :exit_status,
        args: args(folder)
      ])

    state = %{port: port, folder: folder, rest: "", number: 0, asked: %{}, told: [], session: nil}
    {:ok, state, {:continue, :page}}
  end

  # It says much that is no concern of a test's. Its own sandbox is not for root.
  defp args(folder) do
    root = if System.cmd("id", ["-u"]) == {"0\n", 0}, do: ["--no-sandbox"], else: []

    [
      "-c",
      ~s(exec "$@" >/dev/null 2>&1),
      "sh",
      program() | @switches ++ root ++ ["--user-data-dir=#{folder}", "about:blank"]
    ]
  end

  @impl true
  def handle_continue(:page, state) do
    {target, state} = now(state, "Target.createTarget", %{url: "about:blank"})
    {attached, state} = now(state, "Target.attachToTarget", %{targetId: target["targetId"], flatten: true})
    state = %{state | session: attached["sessionId"]}
    {:noreply, Enum.reduce(~w(Page Runtime Log Network), state, &elem(now(&2, &1 <> ".enable", %{}), 1))}
  end

  @impl true
  def handle_call({:call, method, params}, from, state), do: {:noreply, ask(state, method, params, from)}
  def handle_call(:told, _from, state), do: {:reply, Enum.reverse(state.told), state}
  def handle_call(:forget, _from, state), do: {:reply, :ok, %{state | told: []}}

  @impl true
  def handle_info({port, {:data, bytes}}, %{port: port} = state), do: {:noreply, heard(state, bytes)}
  def handle_info({port, {:exit_status, code}}, %{port: port} = state), do: {:stop, {:chromium_ended, code}, state}
  def handle_info(_other, state), do: {:noreply, state}

  # It writes until it has ended, and its helpers a moment longer.
  @impl true
  def terminate(_reason, %{port: port, folder: folder} = state) do
    if Port.info(port), do: ask(%{state | session: nil}, "Browser.close", %{}, make_ref())

    receive do
      {^port, {:exit_status, _code}} -> :ok
    after
      5_000 -> :ok
    end

    TestOwner.eventually(fn -> match?({:ok, _files}, File.rm_rf(folder)) end)
  end

  # Asks, and hears until that is answered.
  defp now(state, method, params) do
    ref = make_ref()
    await(ask(state, method, params, ref), ref)
  end

  defp await(%{port: port} = state, ref) do
    receive do
      {^port, {:data, bytes}} -> heard(state, bytes) |> await(ref)
      {:answered, ^ref, {:ok, result}} -> {result, state}
      {^port, {:exit_status, code}} -> exit({:chromium_ended, code})
    after
      @patience -> exit(:chromium_is_silent)
    end
  end

  defp ask(state, method, params, from) do
    number = state.number + 1
    command = %{id: number, method: method, params: params}
    command = if state.session, do: Map.put(command, :sessionId, state.session), else: command
    Port.command(state.port, [JSON.encode(command), 0])
    %{state | number: number, asked: Map.put(state.asked, number, from)}
  end

  # Messages end with a zero.
  defp heard(state, bytes) do
    [rest | whole] = (state.rest <> bytes) |> :binary.split(<<0>>, [:global]) |> Enum.reverse()
    whole |> Enum.reverse() |> Enum.map(&JSONReader.read!/1) |> Enum.reduce(%{state | rest: rest}, &took/2)
  end

  defp took(%{"id" => number} = answer, state) do
    {from, asked} = Map.pop(state.asked, number)
    reply(from, answered(answer))
    %{state | asked: asked}
  end

  defp took(%{"method" => name, "params" => params}, state), do: %{state | told: [{name, params} | state.told]}

  defp answered(%{"error" => error}), do: {:error, error["message"]}
  defp answered(%{"result" => result}), do: {:ok, result}

  defp reply(ref, answer) when is_reference(ref), do: send(self(), {:answered, ref, answer})
  defp reply(from, answer), do: GenServer.reply(from, answer)
end
