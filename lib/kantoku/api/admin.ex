defmodule Kantoku.Api.Admin do
  # What who has the admin's token may have done. Each is a public function of `Kantoku`, runs in a process of its own, whose end nobody has to wait
  # for, and is told as an event. Knows no HTTP but the status of an answer, and no token.
  @moduledoc false

  alias Kantoku.Api.{Params, Route, Shown}
  alias Kantoku.{Error, Telemetry}

  # Ms until it is answered that it goes on.
  @patience 1_000

  @agents %{"restart" => :restart, "unpark" => :unpark}

  @doc "The names of all that can be done."
  @spec actions() :: [String.t()]
  def actions, do: ["drain" | Map.keys(@agents)]

  @doc "Does something: that it was done (200), or goes on (202)."
  @spec act(String.t(), instance :: atom, Params.t()) :: {:ok, 200 | 202, map} | {:error, Route.refusal()}
  def act("drain", instance, _params), do: done(instance, :drain, nil, fn -> Kantoku.drain(instance) end)

  def act(name, instance, params) do
    action = Map.fetch!(@agents, name)

    case Params.key(params, "key") do
      {:ok, {:term, id}} -> done(instance, action, id, fn -> agent(action, instance, id) end)
      {:ok, nil} -> {:error, Params.refusal("key", "the key of an agent")}
      {:error, refusal} -> {:error, refusal}
    end
  end

  defp agent(:restart, instance, id), do: Kantoku.restart_agent(instance, id)
  defp agent(:unpark, instance, id), do: Kantoku.unpark(instance, id)

  defp done(instance, action, id, fun) do
    # Not this process's own name: what goes on says nothing any more to who has been answered.
    asked = :erlang.alias()
    _ = spawn(fn -> send(asked, {asked, witnessed(instance, action, id, fun)}) end)

    receive do
      {^asked, result} ->
        :erlang.unalias(asked)
        answer(result, body(instance, action, id))
    after
      @patience ->
        forget(asked)
        {:ok, 202, Map.put(body(instance, action, id), :done, false)}
    end
  end

  defp forget(asked) do
    :erlang.unalias(asked)

    receive do
      {^asked, _late} -> :ok
    after
      0 -> :ok
    end
  end

  # Told however it ends, with the process of who asked or without.
  defp witnessed(instance, action, id, fun) do
    began = System.monotonic_time()
    {pid, monitor} = spawn_monitor(fn -> exit({:done, fun.()}) end)

    result =
      receive do
        {:DOWN, ^monitor, :process, ^pid, {:done, result}} -> result
        {:DOWN, ^monitor, :process, ^pid, reason} -> {:error, reason}
      end

    said = %{action: action, id: id, result: word(result)}
    Telemetry.emit(instance, [:api, :admin], %{duration: System.monotonic_time() - began}, said)
    result
  end

  defp word({:error, %Error{reason: reason}}), do: reason
  defp word({:error, _reason}), do: :failed
  defp word(_ok), do: :ok

  defp body(instance, action, id),
    do: %{action: action, instance: Shown.text(instance), id: Shown.text_or_nil(id), done: true}

  defp answer({:error, %Error{} = error}, _body), do: {:error, error}
  defp answer({:error, reason}, _body), do: {:error, {503, :failed, "it could not be done: #{Shown.reason(reason)}"}}
  defp answer(_done, body), do: {:ok, 200, body}
end
