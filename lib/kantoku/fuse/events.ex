defmodule Kantoku.Fuse.Events do
  @moduledoc """
  What becomes of fuses, for handlers of `gen_event`: `{name, :ok | :blown | {:gradual, rate} | :removed}`, as fuse's
  `fuse_event` has it.
  """

  @doc false
  @spec child_spec(term) :: Supervisor.child_spec()
  def child_spec(_arg),
    do: %{id: __MODULE__, start: {:gen_event, :start_link, [{:local, __MODULE__}]}, modules: :dynamic}

  @doc "Adds a handler: a module with the callbacks of `gen_event`, or `{module, id}`; `args` are given to its `init/1`."
  @spec add_handler(module | {module, term}, args :: term) :: :ok | {:EXIT, term} | term
  def add_handler(handler, args), do: :gen_event.add_handler(__MODULE__, handler, args)

  @doc "Removes a handler; `args` are given to its `terminate/2`, whose result is the answer."
  @spec delete_handler(module | {module, term}, args :: term) :: term
  def delete_handler(handler, args), do: :gen_event.delete_handler(__MODULE__, handler, args)

  @doc false
  @spec notify(term) :: :ok | nil
  def notify(event), do: Process.whereis(__MODULE__) && :gen_event.notify(__MODULE__, event)
end
