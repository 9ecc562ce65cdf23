defmodule Kantoku.Migration.Portable do
  @moduledoc """
  For processes whose state moves with them: what of it is taken along, and how it is taken up.

      defmodule MyApp.Session do
        use GenServer
        @behaviour Kantoku.Migration.Portable

        @impl Kantoku.Migration.Portable
        def export_state(state), do: Map.delete(state, :timer)

        @impl Kantoku.Migration.Portable
        def import_state(carried, fresh), do: Map.merge(fresh, carried)
      end

  Both run in the process itself, while it handles nothing else: `c:export_state/1` in the one that leaves, `c:import_state/2` in the one
  that was started in its place, before its first message. It works with every OTP process that has a state (`GenServer`,
  `:gen_statem`, whose state and data come as a pair), through `:sys.replace_state/3`; no message of the module's own is needed.

  What holds in the old process only (timers, monitors, ports, its pid) should stay out of what is exported. A module of its own may
  implement this for others: it is the option `:state` of `Kantoku.Migration.start_child/5`.
  """

  @doc "What a process takes along, out of its state."
  @callback export_state(state :: term) :: carried :: term

  @doc "The state of the process that takes it up; `fresh` is what its `init` made."
  @callback import_state(carried :: term, fresh :: term) :: state :: term
end
