defmodule Kantoku.TestAlertmanager do
  @moduledoc """
  Prometheus' Alertmanager, as Debian has it, on a port of the loopback; what it is told it posts to a webhook. `KANTOKU_ALERTMANAGER` names
  the program where it is not on the PATH. It ends with the test, and with the VM.
  """

  alias Kantoku.TestProgram

  @doc "The program, or `nil`."
  def program, do: TestProgram.find("KANTOKU_ALERTMANAGER", "prometheus-alertmanager")

  @doc "Starts one on a port; answers when it is ready."
  def start(dir, port, webhook) do
    config = Path.join(dir, "alertmanager.yml")
    File.write!(config, config(webhook))

    arguments = [
      "--config.file=#{config}",
      "--storage.path=#{Path.join(dir, "data")}",
      "--web.listen-address=127.0.0.1:#{port}",
      "--cluster.listen-address="
    ]

    TestProgram.start(program(), arguments, Path.join(dir, "alertmanager.log"), fn -> ready?(port) end)
  end

  # Each alert for itself, told at once, and once.
  defp config(webhook) do
    """
    route:
      receiver: test
      group_by: ['...']
      group_wait: 0s
      group_interval: 1s
      repeat_interval: 24h
    receivers:
      - name: test
        webhook_configs:
          - url: #{webhook}
            send_resolved: true
    """
  end

  defp ready?(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false]) do
      :ok = :gen_tcp.send(socket, "GET /-/ready HTTP/1.0\r\n\r\n")
      answer = :gen_tcp.recv(socket, 0, 5_000)
      :gen_tcp.close(socket)
      match?({:ok, "HTTP/1.0 200" <> _}, answer)
    else
      {:error, _not_yet} -> false
    end
  end
end
