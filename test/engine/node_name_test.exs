import Kantoku.EachEngine

# In a VM of its own, which is given its name midway: that changes how pids and references inside a term are written, and
# must not change which keys are one.
each_engine Kantoku.Engine.NodeNameTest do
  setup do
    paths = Enum.flat_map(:code.get_path(), &[~c"-pa", &1])
    # A port of its own in place of epmd, which may not be there.
    args = [~c"-start_epmd", ~c"false", ~c"-erl_epmd_port", ~c"0" | paths]
    {:ok, peer, _node} = :peer.start_link(%{connection: :standard_io, args: args})
    %{peer: peer}
  end

  test "keys with pids and references stay one when the node gets its name", %{peer: peer} do
    assert :peer.call(peer, Kantoku.NamedMidway, :lost_keys, [@engine], 30_000) == []
  end
end
