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

  @doc "As `start/1`, of a VM that has a name for others; both."
  def start_named(name, cookie) do
    arguments = arguments() ++ [~c"-setcookie", String.to_charlist(cookie)]
    {:ok, vm, node} = :peer.start_link(%{connection: :standard_io, name: name, args: arguments})
    {:ok, _} = :peer.call(vm, :application, :ensure_all_started, [:kantoku])
    {vm, node}
  end

  @doc "Runs a Mix task there: what it says, or the message of its error."
  def mix(vm, task, arguments), do: run(vm, {__MODULE__, :run_mix, [task, arguments]})

  @doc false
  def run_mix(task, arguments) do
    {:ok, _} = Application.ensure_all_started(:mix)
    Mix.shell(Mix.Shell.Process)
    task.run(arguments)

    receive do
      {:mix_shell, :info, [text]} -> {:ok, text}
    after
      0 -> {:ok, ""}
    end
  rescue
    error in Mix.Error -> {:error, error.message}
  end

  def stop(vm), do: :peer.stop(vm)

  @doc "The arguments of a VM with our code. Its log is not ours: what it says there is said on purpose."
  def arguments do
    paths = for path <- :code.get_path(), path != ~c".", do: path
    [~c"-kernel", ~c"logger_level", ~c"none", ~c"-pa" | paths]
  end
end
