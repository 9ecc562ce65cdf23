defmodule Demo.Fault do
  # What befalls an agent in the middle of its work, in its own process, and the book of whom it has befallen. Knows nothing of the work.
  #
  #   * `:hang`: it never comes back from this message. Its declared limit (`limit/0`) is how that is found.
  #   * `:slow`: it takes long, and stays within its limit. Nobody is to be restarted for that.
  #   * `:leak`: it holds memory that it will not use again.
  @moduledoc false

  alias Demo.Gauges

  @type kind :: :hang | :slow | :leak

  # ms that a message may take, far more than any takes here on a machine that is busy; and how often health looks.
  @limit 5_000
  @period 1_000
  @slow 500..2_000
  # Some half a megabyte.
  @leaked 32_768

  @gauges %{hang: :hangs, slow: :slowdowns, leak: :leaks}

  @doc "How long an agent may be at one message, in ms."
  @spec limit() :: pos_integer
  def limit, do: @limit

  @doc "The options of an instance whose health is to find out, and that is to say so."
  @spec options() :: keyword
  def options do
    [
      agents: [max_busy: @limit],
      health: [period: @period, max_busy: %{Demo.Reader => @limit}],
      alerts: [interval: 500, rules: rules()]
    ]
  end

  # What the shipped rules are too patient for, in a run of seconds.
  defp rules do
    [
      [name: :stuck, condition: {:event, [:kantoku, :health, :restarting], 5_000}, summary: "agents were found stuck"],
      [name: :refusing, condition: {:breakers, [:open]}, for: 1_000, summary: "a breaker refuses calls"]
    ]
  end

  @doc "Opens the book of an instance; it lives as long as the calling process."
  @spec open(atom) :: :ets.tid()
  def open(instance) do
    book = :ets.new(__MODULE__, [:public])
    :persistent_term.put({__MODULE__, instance}, book)
    book
  end

  @doc "Whether a process is one that was told to hang, and did."
  @spec hung?(:ets.tid(), pid) :: boolean
  def hung?(book, pid), do: :ets.member(book, pid)

  @doc "All that hung, dead or alive."
  @spec hung(:ets.tid()) :: [pid]
  def hung(book), do: for({pid} <- :ets.tab2list(book), do: pid)

  @doc "It happens to the calling agent."
  @spec strike(kind, atom) :: :ok
  def strike(kind, instance) do
    Gauges.add(instance, @gauges[kind])
    befall(kind, instance)
  end

  # Noted before, so that whoever is found was known.
  defp befall(:hang, instance) do
    :ets.insert(:persistent_term.get({__MODULE__, instance}), {self()})
    receive do: (:never -> :ok)
  end

  defp befall(:slow, _instance), do: Process.sleep(Enum.random(@slow))

  defp befall(:leak, _instance) do
    leaked = Process.get(__MODULE__, [])
    Process.put(__MODULE__, [Enum.to_list(1..@leaked) | leaked])
    :ok
  end
end
