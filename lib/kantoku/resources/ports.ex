defmodule Kantoku.Resources.Ports do
  @moduledoc false
  # What carries bytes in and out of the VM and can be counted: ports, and sockets of OTP's `:socket`, which are none. Keeps nothing.

  @type carrier :: port | :socket.socket()

  @typedoc "One that is open, with its owner and the bytes that it carried since it was opened."
  @type open :: {carrier, owner :: pid, {input :: non_neg_integer, output :: non_neg_integer}}

  @spec all() :: [open]
  def all, do: ports() ++ sockets()

  @doc "Whether it is a socket of OTP's, which the VM's own sums leave out."
  @spec socket?(carrier) :: boolean
  def socket?(carrier), do: not is_port(carrier)

  # One that was closed meanwhile has no information.
  defp ports do
    for port <- Port.list(),
        {:connected, owner} <- [Port.info(port, :connected)],
        {:input, input} <- [Port.info(port, :input)],
        {:output, output} <- [Port.info(port, :output)],
        do: {port, owner, {input, output}}
  end

  # They are listed by a process of OTP's that keeps a list of them anyway, where there are any.
  defp sockets do
    for socket <- if(Process.whereis(:socket_registry), do: :socket.which_sockets(), else: []),
        %{owner: owner, counters: %{read_byte: input, write_byte: output}} when is_pid(owner) <- [:socket.info(socket)],
        do: {socket, owner, {input, output}}
  end
end
