defmodule Kantoku.Guarded do
  @moduledoc """
  Two breakers of an instance in a VM that is stopped meanwhile: behind `:call` a call that gives up as soon as it may, and one that is
  `:open` and waits for as many seconds as nothing here lasts.
  """

  alias Kantoku.{Breaker, TestOwner}

  @wait 100_000

  @doc "How long the open one waits, in ms."
  @spec wait() :: pos_integer
  def wait, do: @wait

  @doc "Begins, and answers when the call is made and the clock has beaten."
  @spec begin(Kantoku.Engine.kind()) :: :ok
  def begin(engine) do
    parent = self()
    instance = Module.concat(__MODULE__, engine)

    spawn(fn ->
      {:ok, _} = Kantoku.start_link(name: instance, engine: engine)
      {:ok, call} = Breaker.install(instance, :call, slow_call_duration_threshold: 500, minimum_number_of_calls: 1)
      {:ok, open} = Breaker.install(instance, :open, wait_duration_in_open_state: @wait)
      :ok = Breaker.set(open, :open)
      send(parent, :begun)
      answer = Breaker.run(call, fn -> Process.sleep(1_000) && {:error, :gave_up} end)
      :persistent_term.put(instance, answer)
      Process.sleep(:infinity)
    end)

    receive do: (:begun -> :ok)
  end

  @doc "What the call came to, when it has."
  @spec answer(Kantoku.Engine.kind()) :: term
  def answer(engine) do
    instance = Module.concat(__MODULE__, engine)
    true = TestOwner.eventually(fn -> :persistent_term.get(instance, nil) != nil end)
    :persistent_term.get(instance)
  end

  @doc "What the breakers say."
  @spec outcome(Kantoku.Engine.kind()) :: %{atom => map}
  def outcome(engine) do
    for name <- [:call, :open], into: %{} do
      {:ok, status} = Breaker.status({Module.concat(__MODULE__, engine), name})
      {name, status}
    end
  end
end
