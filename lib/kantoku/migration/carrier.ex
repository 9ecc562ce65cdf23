defmodule Kantoku.Migration.Carrier do
  # How the state of one process gets into another: held still, packed, unpacked. For plain OTP processes here; others have a carrier
  # of their own. Knows neither side by name.
  @moduledoc false

  # For a process to come to the end of what it does, in ms.
  @patience 5_000

  @typedoc "`:none`: it cannot be carried. `:fresh`: there is nothing to carry. `:sys`: as it is. Or by `Kantoku.Migration.Portable`."
  @type means :: :none | :fresh | :sys | module

  @doc "Holds a process still, so that it handles nothing; what is sent to it waits."
  @callback freeze(pid) :: :ok | {:error, reason :: term}

  @doc "What it takes along, and messages that it had taken in but not begun."
  @callback pack(pid, means) :: {:ok, state :: term, unbegun :: [term]} | {:error, reason :: term}

  @doc "What to start so that it can take the state up."
  @callback laden(Kantoku.Migration.Roster.origin(), state :: term) :: Kantoku.Migration.Roster.origin()

  @doc "What our side is to be told at each start, beside what the agent was given."
  @callback agent_options(Kantoku.Migration.Roster.key()) :: keyword

  @doc "Has a process that was just started take it up."
  @callback unpack(pid, means, state :: term) :: :ok | {:error, reason :: term}

  @doc "Holds a process still. One that does not come to an end of what it does is let go on."
  @spec freeze(pid) :: :ok | {:error, term}
  def freeze(pid) do
    :sys.suspend(pid, @patience)
  catch
    :exit, {:timeout, _call} ->
      thaw(pid)
      {:error, :busy}

    :exit, reason ->
      {:error, reason}
  end

  @doc "Lets a process go on. Does not wait for it, as it may be busy."
  @spec thaw(pid) :: :ok
  def thaw(pid) do
    send(pid, {:system, {self(), {__MODULE__, make_ref()}}, :resume})
    :ok
  end

  @spec pack(pid, means) :: {:ok, term, [term]} | {:error, term}
  def pack(_pid, :none), do: {:error, :no_state}
  def pack(_pid, :fresh), do: {:ok, nil, []}
  def pack(pid, :sys), do: with({:ok, state} <- inside(pid, &{&1, &1}), do: {:ok, state, []})
  def pack(pid, module), do: with({:ok, state} <- inside(pid, &{module.export_state(&1), &1}), do: {:ok, state, []})

  @spec laden(origin, term) :: origin when origin: map
  def laden(origin, _state), do: origin

  @spec agent_options(tuple) :: keyword
  def agent_options(_key), do: []

  @spec unpack(pid, means, term) :: :ok | {:error, term}
  def unpack(_pid, :fresh, _state), do: :ok
  def unpack(pid, :sys, state), do: with({:ok, :ok} <- inside(pid, fn _fresh -> {:ok, state} end), do: :ok)

  def unpack(pid, module, state),
    do: with({:ok, :ok} <- inside(pid, &{:ok, module.import_state(state, &1)}), do: :ok)

  @doc "Runs `fun` in a process, on its state: what it answers, and the state as it is from then on."
  @spec inside(pid, (term -> {answer, term})) :: {:ok, answer} | {:error, term} when answer: term
  def inside(pid, fun) do
    {me, ref} = {self(), make_ref()}

    :sys.replace_state(
      pid,
      fn state ->
        {answer, state} = fun.(state)
        send(me, {ref, answer})
        state
      end,
      @patience
    )

    receive do
      {^ref, answer} -> {:ok, answer}
    after
      0 -> {:error, :no_answer}
    end
  catch
    _kind, reason -> {:error, reason}
  end

  @doc "The means for a process, from the option `:state` and the module that starts it."
  @spec means!(term, module) :: means
  def means!(nil, module), do: if(portable?(module), do: module, else: :none)
  def means!(word, _module) when word in [:none, :fresh, :sys], do: word

  def means!(other, _module) do
    if is_atom(other) and portable?(other), do: other, else: refuse!(other)
  end

  defp portable?(module) do
    Code.ensure_loaded?(module) and function_exported?(module, :export_state, 1) and
      function_exported?(module, :import_state, 2)
  end

  @spec refuse!(term) :: no_return
  defp refuse!(other) do
    raise ArgumentError,
          "Kantoku.Migration, option :state: expected :sys, :fresh, :none or a module of Kantoku.Migration.Portable, " <>
            "got: #{inspect(other)}"
  end
end
