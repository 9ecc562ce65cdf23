defmodule Bench.Telemetry.Collector do
  @moduledoc false
  # A collector on the loopback: it listens, and answers, hangs up or says nothing, as is wished of its n-th connection. What it is sent it reads
  # and forgets.

  @type does :: (number :: pos_integer -> :answer | :hold | :hang_up)

  @doc "One that ends with whoever kills it."
  @spec start(does) :: {:inet.port_number(), pid}
  def start(does) do
    owner = self()

    pid =
      spawn(fn ->
        {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
        {:ok, port} = :inet.port(listener)
        send(owner, {self(), port})
        accept(listener, does, 1, [])
      end)

    receive do
      {^pid, port} -> {port, pid}
    end
  end

  @doc "A port at which nobody listens."
  @spec closed_port() :: :inet.port_number()
  def closed_port do
    {:ok, closed} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(closed)
    :ok = :gen_tcp.close(closed)
    port
  end

  # Held are the last few, as others have given up by then.
  defp accept(listener, does, number, held) do
    {:ok, socket} = :gen_tcp.accept(listener)

    case does.(number) do
      :hold ->
        accept(listener, does, number + 1, Enum.take([socket | held], 8))

      :hang_up ->
        :ok = :gen_tcp.close(socket)
        accept(listener, does, number + 1, held)

      :answer ->
        _ = answer(socket)
        accept(listener, does, number + 1, held)
    end
  end

  defp answer(socket) do
    with {:ok, head} <- :gen_tcp.recv(socket, 0, 1_000),
         [_all, length] <- Regex.run(~r/content-length: (\d+)/i, head),
         [_head, body] = String.split(head, "\r\n\r\n", parts: 2),
         :ok <- rest(socket, String.to_integer(length) - byte_size(body)) do
      _ = :gen_tcp.send(socket, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
      :gen_tcp.close(socket)
    end
  end

  defp rest(_socket, missing) when missing <= 0, do: :ok
  defp rest(socket, missing), do: with({:ok, _body} <- :gen_tcp.recv(socket, missing, 1_000), do: :ok)
end
