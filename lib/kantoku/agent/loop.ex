defmodule Kantoku.Agent.Loop do
  # Where a process waits for its next message, as far as that can be seen from outside. Knows nothing of agents.
  @moduledoc false

  # Where OTP's own loops wait for the next message; whoever waits elsewhere waits in the middle of something.
  @loops [
    {:gen_server, :loop},
    {:gen_statem, :loop_receive},
    {:gen_statem, :loop_hibernate},
    {:gen_event, :fetch_msg},
    {:erlang, :hibernate}
  ]

  @doc "Whether a process that is in this function (`Process.info/2`'s `:current_function`) is between two messages."
  @spec idle?(mfa) :: boolean
  def idle?({module, function, _arity}), do: {module, function} in @loops
end
