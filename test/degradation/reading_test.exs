defmodule Kantoku.Degradation.ReadingTest do
  use ExUnit.Case, async: true
  alias Kantoku.Degradation.Reading

  @moduletag :tmp_dir
  @gib 0x40000000

  defp files(root, files) do
    for {path, text} <- files do
      path = Path.join(root, path)
      File.mkdir_p!(Path.dirname(path))
      File.write!(path, text)
    end
  end

  defp host(root),
    do: files(root, %{"proc/meminfo" => "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable:   6291456 kB\n"})

  defp v2(root, folder, max, current, stat \\ nil) do
    files(root, %{
      "sys/fs/cgroup/#{folder}/memory.max" => "#{max}\n",
      "sys/fs/cgroup/#{folder}/memory.current" => "#{current}\n"
    })

    if stat, do: files(root, %{"sys/fs/cgroup/#{folder}/memory.stat" => stat})
  end

  test "without files nothing is known", %{tmp_dir: root} do
    assert Reading.memory(root) == :unknown
    files(root, %{"proc/self/cgroup" => "nonsense\n0::\n4:memory\n:::\n", "proc/meminfo" => "MemTotal: many kB\n"})
    assert Reading.memory(root) == :unknown
  end

  test "the machine's memory, without what can be had at once", %{tmp_dir: root} do
    host(root)
    assert Reading.memory(root) == {2 * @gib, 8 * @gib, :host}
  end

  test "of version 2 the limit of our cgroup, without inactive files", %{tmp_dir: root} do
    host(root)
    files(root, %{"proc/self/cgroup" => "0::/app.slice/ours\n"})
    v2(root, "app.slice/ours", @gib, 900, "anon 1\ninactive_file 300\nactive_file 5\n")
    assert Reading.memory(root) == {600, @gib, :cgroup}
  end

  test "of nested ones the least, whether or not ours says max", %{tmp_dir: root} do
    host(root)
    files(root, %{"proc/self/cgroup" => "0::/a/b/c\n"})
    v2(root, "a/b/c", "max", 10)
    v2(root, "a/b", 3 * @gib, 20)
    v2(root, "a", 2 * @gib, 30)
    assert Reading.memory(root) == {30, 2 * @gib, :cgroup}
  end

  test "the machine's where no cgroup has less", %{tmp_dir: root} do
    host(root)
    files(root, %{"proc/self/cgroup" => "0::/a\n"})
    v2(root, "a", 64 * @gib, 10)
    assert {_used, _limit, :host} = Reading.memory(root)
  end

  test "a container that sees its own cgroup as the top", %{tmp_dir: root} do
    files(root, %{"proc/self/cgroup" => "0::/docker/of/the/host\n"})
    v2(root, ".", @gib, 10)
    assert Reading.memory(root) == {10, @gib, :cgroup}
  end

  test "version 1, where no limit is a number beyond all machines", %{tmp_dir: root} do
    host(root)
    files(root, %{"proc/self/cgroup" => "5:cpu:/x\n4:hugetlb,memory:/x/y\n0::/\n"})
    mount = "sys/fs/cgroup/memory"
    files(root, %{"#{mount}/x/y/memory.limit_in_bytes" => "#{@gib}\n", "#{mount}/x/y/memory.usage_in_bytes" => "700\n"})
    files(root, %{"#{mount}/x/y/memory.stat" => "cache 1\ninactive_file 50\ntotal_inactive_file 100\n"})

    files(root, %{
      "#{mount}/memory.limit_in_bytes" => "9223372036854771712\n",
      "#{mount}/memory.usage_in_bytes" => "1\n"
    })

    assert Reading.memory(root) == {600, @gib, :cgroup}
  end

  test "a path that leads out of the mount is followed no further than its top", %{tmp_dir: root} do
    files(root, %{"proc/self/cgroup" => "0::/../../ours\n", "sys/ours/memory.max" => "1\n"})
    assert Reading.memory(root) == :unknown
  end

  test "this machine" do
    assert %{memory: memory, run_queue: queue} = Reading.now()
    assert memory == :unknown or match?({used, limit, _source} when used >= 0 and limit > 0, memory)
    assert queue >= 0
  end
end
