defmodule Kantoku.OtherVM do
  # Another VM with our code, for what may end a VM or is measured of one. Ends with the test.
  @moduledoc false

  @doc "Starts one; `before` runs there before Kantoku's native library is loaded."
  def start(before \\ nil) do
    {:ok, vm, _node} = :peer.start_link(%{connection: :standard_io, args: arguments()})
    if before, do: run(vm, before)
    {:ok, _} = :peer.call(vm, :application, :ensure_all_started, [:kantoku])
    vm
  end

  @doc "Runs `{module, function, arguments}` there."
  def run(vm, {module, function, arguments}, timeout \\ 60_000),
    do: :peer.call(vm, module, function, arguments, timeout)

  def stop(vm), do: :peer.stop(vm)

  @doc "The arguments of a VM with our code. Its log is not ours: what it says there is said on purpose."
  def arguments do
    paths = for path <- :code.get_path(), path != ~c".", do: path
    [~c"-kernel", ~c"logger_level", ~c"none", ~c"-pa" | paths]
  end
end
