defmodule Kantoku.MortalVM do
  # Another VM with our code that is ended by signals, perhaps in a narrower world than ours. Ends with the test.
  @moduledoc false

  alias Kantoku.OtherVM

  @enforce_keys [:peer, :os_pid]
  defstruct [:peer, :os_pid]

  @type t :: %__MODULE__{peer: pid, os_pid: String.t()}

  @doc "Starts one, by a command that ends in running its arguments."
  @spec start([String.t()]) :: t
  def start(wrapper \\ []) do
    Process.flag(:trap_exit, true)
    options = %{connection: :standard_io, args: OtherVM.arguments(), exec: executable(wrapper), wait_boot: 60_000}
    {:ok, peer, _node} = :peer.start_link(options)
    vm = %__MODULE__{peer: peer, os_pid: List.to_string(:peer.call(peer, :os, :getpid, []))}
    {:ok, _} = run(vm, {:application, :ensure_all_started, [:kantoku]})
    vm
  end

  defp executable(wrapper) do
    [command | arguments] = wrapper ++ [Path.join([:code.root_dir(), "bin", "erl"])]
    {command |> System.find_executable() |> String.to_charlist(), Enum.map(arguments, &String.to_charlist/1)}
  end

  @doc "Runs `{module, function, arguments}` there."
  @spec run(t, mfa :: {module, atom, [term]}, timeout) :: term
  def run(vm, mfa, timeout \\ 60_000), do: OtherVM.run(vm.peer, mfa, timeout)

  @doc "Begins to run `{module, function, arguments}` there, and waits for nothing."
  @spec begin(t, mfa :: {module, atom, [term]}) :: :ok
  def begin(vm, {module, function, arguments}), do: :peer.cast(vm.peer, module, function, arguments)

  @doc "Sends it a signal."
  @spec signal(t, String.t()) :: :ok
  def signal(vm, name), do: shell!("kill -#{name} #{vm.os_pid}")

  @doc "Sets how large a file it may write from now on: bytes, or `:unlimited`. Whoever lowers it fills its disk."
  @spec limit_files(t, non_neg_integer | :unlimited) :: :ok
  def limit_files(vm, bytes), do: shell!("prlimit --pid #{vm.os_pid} --fsize=#{bytes}:")

  @doc "Waits until it is gone, with all that it held; for how many ms."
  @spec await_end(t) :: non_neg_integer
  def await_end(vm), do: await_end(vm, System.monotonic_time(:millisecond), 120_000)

  defp await_end(vm, begun, bound) do
    waited = System.monotonic_time(:millisecond) - begun

    cond do
      elem(shell("kill -0 #{vm.os_pid}"), 1) != 0 -> waited
      waited > bound -> raise "VM #{vm.os_pid} did not end within #{bound} ms"
      true -> Process.sleep(5) && await_end(vm, begun, bound)
    end
  end

  @doc "Ends it as a power cut would, but for the disk's cache."
  @spec kill(t) :: :ok
  def kill(vm) do
    signal(vm, "KILL")
    await_end(vm)
    :ok
  end

  # `kill` as a command of its own is not on every machine.
  defp shell!(command) do
    {_output, 0} = shell(command)
    :ok
  end

  defp shell(command), do: System.cmd("sh", ["-c", command], stderr_to_stdout: true)
end
