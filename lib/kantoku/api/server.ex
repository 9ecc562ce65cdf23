defmodule Kantoku.Api.Server do
  # Has what the library's listener is asked answered, each request by a process of its own; one for the VM. The library bounds how many there
  # are, and waits for none of them longer than two seconds, so that nothing here has to be quick for it. A successor is asked anew, so the
  # processes are linked: none of those of a predecessor goes on beside as many more. Answers nothing itself.
  @moduledoc false
  use GenServer

  alias Kantoku.{Api, Native}
  alias Kantoku.Api.Params

  # Nobody waits for it any more; in ms.
  @longest 5_000

  @spec start_link(term) :: GenServer.on_start()
  def start_link(_arg), do: GenServer.start_link(__MODULE__, nil, name: __MODULE__)

  # What a predecessor was asked is lost with it.
  @impl true
  def init(nil) do
    Process.flag(:trap_exit, true)
    _ = Native.exporters_attach()
    {:ok, %{}}
  end

  @impl true
  def handle_info({:kantoku_api, id, path, query}, answering),
    do: {:noreply, ask(answering, id, fn -> answer(id, path, query, &Api.get/2) end)}

  # Who asks that has shown the admin's token to the library.
  def handle_info({:kantoku_admin, id, path, query}, answering),
    do: {:noreply, ask(answering, id, fn -> answer(id, path, query, &Api.post/2) end)}

  def handle_info({:timeout, _timer, {:late, ref, pid}}, answering) do
    if is_map_key(answering, ref), do: Process.exit(pid, :kill)
    {:noreply, answering}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, answering) do
    {{id, timer}, answering} = Map.pop!(answering, ref)
    _ = :erlang.cancel_timer(timer)
    if reason != :normal, do: failed(id)
    {:noreply, answering}
  end

  def handle_info(_other, answering), do: {:noreply, answering}

  defp ask(answering, id, answer) do
    {pid, ref} = :erlang.spawn_opt(answer, [:link, :monitor])
    timer = :erlang.start_timer(@longest, self(), {:late, ref, pid})
    Map.put(answering, ref, {id, timer})
  end

  defp answer(id, path, query, api) do
    {status, kind, body} =
      case Params.decode(query) do
        {:ok, params} -> path |> String.split("/", trim: false) |> tl() |> api.(params)
        {:error, refusal} -> Api.refuse(refusal)
      end

    _ = Native.exporters_answer(id, status, kind, IO.iodata_to_binary(body))
  end

  # Whose end the log has.
  defp failed(id) do
    {status, kind, body} = Api.refuse({503, :failed, "the answer could not be made, and the log says why"})
    _ = Native.exporters_answer(id, status, kind, IO.iodata_to_binary(body))
  end
end
