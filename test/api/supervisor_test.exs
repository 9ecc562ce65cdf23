defmodule Kantoku.Api.SupervisorTest do
  # Kills what all tests of this VM share, so it runs alone.
  use Kantoku.InstanceCase, async: false

  alias Kantoku.Api.{Feed, Recorder, Sampler, Server}
  alias Kantoku.Discovery.Announcer
  alias Kantoku.Exporters.Keeper

  test "whoever tells may be killed again and again: instances and their agents go on" do
    instance = start!()
    pid = worker!(instance, "ada")

    for name <- [Server, Feed, Recorder, Sampler, Announcer, Keeper], _ <- 1..8 do
      killed = eventually(fn -> Process.whereis(name) end)
      kill(killed)
      eventually(fn -> Process.whereis(name) not in [nil, killed] end)
    end

    assert Kantoku.whereis(instance, "ada") == pid
    assert {:ok, ^pid} = Kantoku.call(instance, "ada", :pid)
    assert {200, _type, _body} = Kantoku.Api.get(["api", "v1", "instances"])
  end
end
