defmodule Kantoku.TestProgram do
  @moduledoc """
  Programs of others, as a test needs them: each ends with the test that started it, and with the VM.
  """

  # Ends the program when nobody holds the other end of its input any more.
  @keeper ~S("$@" >"$LOG" 2>&1 & read -r _; kill -9 $!)

  @doc "Where a program is: as a variable of the system says, or by its name on the PATH; `nil` if nowhere."
  def find(variable, name \\ nil), do: System.get_env(variable) || (name && System.find_executable(name))

  @doc "Starts one that says what it has to say to a file; answers when `ready?` says so."
  def start(program, arguments, log, ready?) do
    options = [:binary, args: ["-c", @keeper, "sh", program | arguments], env: [{~c"LOG", String.to_charlist(log)}]]
    keeper = Port.open({:spawn_executable, System.find_executable("sh")}, options)
    Kantoku.TestOwner.eventually(ready?, 3_000)
    keeper
  end

  @doc "Whether somebody listens at a port of the loopback."
  def listens?(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, []),
         do: :gen_tcp.close(socket) == :ok,
         else: (_ -> false)
  end
end
