defmodule Kantoku.Migration.ShadowTest do
  use Kantoku.MigrationCase, async: true
  alias Kantoku.Migration.{Crowd, Journal}
  alias Kantoku.TestWorker

  defp shadow!(context, feature, subject \\ TestSession),
    do: :ok = Migration.set(context.instance, feature, subject, :shadow, by: "ada")

  describe "of supervision" do
    test "says what our domain would have done with each crash", context do
      session!(context, "ada")
      shadow!(context, :supervision)

      for _ <- 1..13 do
        pid = Migration.whereis(context.subject, "ada", context.registry)
        kill(pid)
        eventually(fn -> Migration.whereis(context.subject, "ada", context.registry) not in [nil, pid] end)
      end

      assert %{shadow: %{agreed: agreed, disagreed: disagreed, last: [newest | _] = last}} =
               entry(context, :supervision)

      # The first is started again at once by both; then ours waits, and after ten within a minute it parks.
      assert agreed >= 1 and agreed + disagreed == 13
      assert %{key: "ada", theirs: :restart, at: _} = newest
      assert Enum.any?(last, &match?(%{ours: {:back_off, ms}} when ms > 0, &1))
      assert Enum.any?(last, &match?(%{ours: {:park, 60_000}}, &1))
      # Nothing was done of it.
      assert Kantoku.agents(context.instance) == {:ok, []}
    end
  end

  describe "of the registry" do
    test "compares both answers", context do
      pid = session!(context, "ada")
      shadow!(context, :registry)
      eventually(fn -> Kantoku.whereis(context.instance, "ada") == pid end)
      assert Migration.whereis(context.subject, "ada", context.registry) == pid
      assert Migration.whereis(context.subject, "bob", context.registry) == nil
      assert %{shadow: %{agreed: 2, disagreed: 0}} = entry(context, :registry)
      # One that ours does not know, as it was started past the front.
      {Registry, registry} = context.registry
      other = start_supervised!({TestSession, id: "carl", registry: registry})
      assert Migration.whereis(context.subject, "carl", context.registry) == other
      assert %{shadow: %{disagreed: 1, last: [%{key: "carl", ours: nil, theirs: ^other}]}} = entry(context, :registry)
    end

    test "knows an agent again that its old supervisor restarted, and none when it is off again", context do
      shadow!(context, :registry)
      pid = session!(context, "ada")
      kill(pid)
      back = eventually(fn -> Kantoku.whereis(context.instance, "ada") end)
      assert Migration.whereis(context.subject, "ada", context.registry) == back
      :ok = Migration.set(context.instance, :registry, TestSession, :off)
      eventually(fn -> Kantoku.whereis(context.instance, "ada") == nil end)
      assert Migration.whereis(context.subject, "ada", context.registry) == back
    end

    test "a name by `:via` is one of either side", context do
      name = {:via, Kantoku.Migration.Via, {context.subject, "ada", context.registry}}
      pid = session!(context, "ada")
      assert GenServer.whereis(name) == pid
      assert GenServer.call(name, {:add, 2}) == 2
      supervise!(context, :enforce)
      assert GenServer.call(name, {:add, 2}) == 4

      {:ok, other} =
        GenServer.start_link(TestSession, %{},
          name: {:via, Kantoku.Migration.Via, {context.subject, "bob", context.registry}}
        )

      assert Migration.whereis(context.subject, "bob", context.registry) == other
    end
  end

  describe "of pools" do
    setup context do
      {:ok, _pool} =
        Kantoku.Pool.start(context.instance,
          name: :search,
          worker: {TestWorker, []},
          target: 2,
          max_overflow: 1,
          max_queue: 1
        )

      shadow!(context, :pools, :search)
      %{pool: {context.instance, :search}}
    end

    # An old pool that lets all in.
    defp any, do: fn run -> run.(self()) end

    defp holder(pool) do
      test = self()

      spawn_link(fn ->
        Migration.transaction(pool, fn _worker -> send(test, :in) && receive(do: (:go -> :ok)) end, any(), key: :holder)
        send(test, :out)
      end)
      |> tap(fn _pid -> assert_receive :in end)
    end

    test "says who would have been served, queued and refused, by how many workers", context do
      holders = for _ <- 1..5, do: holder(context.pool)
      assert %{shadow: %{agreed: 4, disagreed: 1, last: [last]}} = entry(context, :pools, :search)
      assert %{ours: {:refused, 3}, theirs: :admitted, key: :holder} = last
      for pid <- holders, do: send(pid, :go) && assert_receive(:out)
      assert Migration.transaction(context.pool, fn _ -> :done end, any()) == :done
      assert %{shadow: %{agreed: 5}} = entry(context, :pools, :search)
      # No worker of ours had anything to do.
      assert {:ok, %{served: 0, arrived: 0}} = Kantoku.Pool.status(context.pool)
    end

    test "one that the old pool refuses and ours would have served is a difference", context do
      full = fn _run -> exit({:timeout, :full}) end
      assert {:timeout, :full} = catch_exit(Migration.transaction(context.pool, & &1, full, key: 1))
      assert %{shadow: %{last: [%{ours: {:served, 2}, theirs: :refused}]}} = entry(context, :pools, :search)
    end

    test "callers that are killed do not stay in the count", context do
      holders = for _ <- 1..4, do: holder(context.pool)
      for pid <- holders, do: Process.unlink(pid) && kill(pid)
      eventually(fn -> Crowd.sweep() && not Crowd.any?() end)
      Journal.clear({context.instance, :pools, :search})
      assert Migration.transaction(context.pool, fn _ -> :done end, any()) == :done
      assert %{shadow: %{agreed: 1, disagreed: 0}} = entry(context, :pools, :search)
    end

    test "the pool of ours serves those whose turn it is", context do
      :ok = Migration.set(context.instance, :pools, :search, {:canary, 50})
      serve = fn key -> Migration.transaction(context.pool, &(&1 == self()), any(), key: key) end
      served = for key <- 1..100, do: {serve.(key), Migration.side(context.instance, :pools, :search, key)}
      assert Enum.uniq(served) |> Enum.sort() == [{false, :new}, {true, :old}]
      assert %{canary: %{new: %{calls: new}, old: %{calls: old}}} = entry(context, :pools, :search)
      assert new + old == 100 and new > 0 and old > 0
      :ok = Migration.set(context.instance, :pools, :search, :enforce)
      all = for _ <- 1..3, do: Kantoku.Pool.checkout(context.pool)

      assert {:timeout, {Migration, :transaction, _}} =
               catch_exit(Migration.transaction(context.pool, & &1, any(), timeout: 10))

      for {:ok, lease} <- all, do: Kantoku.Pool.checkin(lease)
    end
  end

  describe "of state" do
    test "says whether it would be the same, written and read again", context do
      session!(context, "ada")
      assert Migration.check_state(context.subject, "ada") == :off
      shadow!(context, :state)
      assert Migration.check_state(context.subject, "ada") == :same
      session!(context, "bob", state: :sys)
      # It knows its own pid.
      assert Migration.check_state(context.subject, "bob") == {:differs, {:local, :pid}}
      assert %{shadow: %{agreed: 1, disagreed: 1, last: [%{key: "bob", theirs: :same}]}} = entry(context, :state)
      assert Migration.check_state(context.subject, "carl") == {:error, :not_found}
      assert %{total: 0, made_by: pid} = Migration.call(context.subject, "ada", :state)
      assert pid == Migration.whereis(context.subject, "ada", context.registry)
    end
  end

  describe "of health" do
    test "compares both verdicts", context do
      session!(context, "ada")
      assert Migration.healthy?(context.subject, "ada", fn -> false end) == false
      shadow!(context, :health)
      assert Migration.healthy?(context.subject, "ada", fn -> true end)
      refute Migration.healthy?(context.subject, "ada", fn -> false end)
      assert %{shadow: %{agreed: 1, disagreed: 1, last: [%{ours: true, theirs: false}]}} = entry(context, :health)
      :ok = Migration.set(context.instance, :health, TestSession, :enforce)
      assert Migration.healthy?(context.subject, "ada", fn -> flunk("not asked") end)
      refute Migration.healthy?(context.subject, "ada", fn -> true end, ours: fn -> false end)
    end
  end

  test "notes are bounded, and the newest are kept", context do
    key = {context.instance, :health, :any}
    for n <- 1..100, do: Journal.compare(key, n, :ours, :theirs)
    assert %{disagreed: 100, last: last} = Journal.read(key)
    assert last |> Enum.map(& &1.key) |> Enum.sort() == Enum.to_list(81..100)
  end
end
