Code.require_file("../../demo/load.exs", __DIR__)

defmodule Demo.ServedTest do
  # There is one listener for the VM.
  use ExUnit.Case, async: false

  import Kantoku.DemoConsole, only: [run: 1]

  alias Demo.{Options, Served}
  alias Kantoku.{Error, RawHTTP}

  @moduletag :tmp_dir
  @served %{address: "127.0.0.1:9464", ip: {127, 0, 0, 1}, port: 9464, token_file: "/home/ada/.config/kantoku/token"}

  # The token of whoever runs the tests is their own.
  setup %{tmp_dir: dir} do
    before = System.get_env("XDG_CONFIG_HOME")
    System.put_env("XDG_CONFIG_HOME", dir)

    on_exit(fn ->
      if before, do: System.put_env("XDG_CONFIG_HOME", before), else: System.delete_env("XDG_CONFIG_HOME")
    end)
  end

  test "it says where it serves and where the token is, which it does not say" do
    assert Served.lines(%Options{}, @served) ==
             [
               "dashboard  http://localhost:9464/ while this runs, for 30 s (--seconds 600 for longer); " <>
                 "its token is in /home/ada/.config/kantoku/token"
             ]

    assert [long] = Served.lines(%Options{seconds: 600}, @served)
    assert long =~ "while this runs, for 600 s; its token"

    assert Served.lines(%Options{http: false}, @served) == []
    refused = {:error, Error.new(:unavailable, %{cause: :eaddrinuse})}
    assert ["dashboard  not served: " <> _] = Served.lines(%Options{}, refused)
  end

  @tag :exporters
  test "it serves while it works", %{tmp_dir: dir} do
    port = free_port()
    work = Task.async(fn -> run(job(dir, port)) end)
    Kantoku.TestOwner.eventually(fn -> match?({200, _, "ok\n"}, ask(port)) end)
    {0, output} = Task.await(work, 60_000)

    assert output =~
             ~r"^dashboard  http://localhost:#{port}/ while this runs, for 1 s \(--seconds 600 for longer\); its token is in #{dir}/kantoku/token"m

    assert {:error, :econnrefused} = ask(port)
  end

  @tag :exporters
  test "a port that is taken stops nothing", %{tmp_dir: dir} do
    {:ok, taken} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(taken)
    {0, output} = run(job(dir, port))
    assert output =~ ~r/^dashboard  not served: .*Address already in use/m
    assert output =~ "identical: nothing lost, nothing counted twice"
  end

  defp job(dir, port) do
    texts = Path.join(dir, "texts")
    File.mkdir_p!(texts)
    File.write!(Path.join(texts, "one"), "one two three 4")
    [texts | ~w(--agents 6 --kill-rate 0 --seconds 1 --http #{port})]
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  defp ask(port) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, []) do
      {:ok, socket} -> :gen_tcp.close(socket) && RawHTTP.get(port, "/livez", token: false)
      {:error, _reason} = error -> error
    end
  end
end
