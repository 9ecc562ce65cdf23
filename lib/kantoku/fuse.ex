defmodule Kantoku.Fuse do
  @moduledoc """
  [fuse](https://github.com/jlouis/fuse)'s functions, with its answers: for code that was written for it, with the name of the
  module changed.

      iex> Kantoku.Fuse.install(:database, {{:standard, 1, 10_000}, {:reset, 60_000}})
      :ok
      iex> for _ <- 1..2, do: Kantoku.Fuse.melt(:database)
      iex> Kantoku.Fuse.ask(:database, :sync)
      :blown

  A fuse is whole until it melts more than so many times within so many ms; then it is blown, until it is reset, by hand or when
  its time is over. Fuses are the VM's, not an instance's. New code has `Kantoku.Breaker`, which is asked in a twentieth of the
  time, belongs to an instance, knows slow calls and rates, and lets a few calls try before all come back.

  Handlers of `gen_event` hear of each change through `Kantoku.Fuse.Events`; how often a fuse was asked and melted is in
  `Kantoku.Fuse.Stats`. Where SASL runs, a fuse that is found blown, as is looked once a minute, has the alarm `{name,
  :fuse_blown}`, which is cleared when it was found whole three times.
  """

  alias Kantoku.Fuse.Server

  @typedoc "Any term, unique in the VM."
  @type name :: term

  @typedoc "`:sync` asks the process that keeps all fuses, after what it was told before; `:async_dirty` reads what it last wrote."
  @type context :: :sync | :async_dirty

  @typedoc """
  Blown by one melt more than `intensity` within `period` ms. With `:fault_injection` a share of `rate` of all questions is answered
  `:blown` while it is whole.
  """
  @type strategy ::
          {:standard, intensity :: non_neg_integer, period :: non_neg_integer}
          | {:fault_injection, rate :: float, intensity :: pos_integer, period :: non_neg_integer}

  @type options :: {strategy, {:reset, ms :: non_neg_integer}}

  @doc "Installs a fuse, whole. One of that name is replaced, and stays disabled if it was. `badarg` on bad options."
  @spec install(name, options) :: :ok
  def install(name, {{:standard, intensity, period}, {:reset, reset}})
      when is_integer(intensity) and intensity >= 0 and is_integer(period) and period >= 0 and is_integer(reset) and
             reset >= 0,
      do: Server.call({:install, name, {:ok, intensity, period, reset}})

  def install(name, {{:fault_injection, rate, intensity, period}, {:reset, reset}})
      when is_float(rate) and rate > 0.0 and rate <= 1.0 and is_integer(intensity) and intensity > 0 and
             is_integer(period) and period >= 0 and is_integer(reset) and reset >= 0,
      do: Server.call({:install, name, {{:gradual, rate}, intensity, period, reset}})

  def install(_name, _options), do: :erlang.error(:badarg)

  @doc "Whether a fuse is whole."
  @spec ask(name, context) :: :ok | :blown | {:error, :not_found}
  def ask(name, :sync), do: Server.call({:ask, name})
  def ask(name, :async_dirty), do: Server.ask(name)

  @doc "Runs `fun` if the fuse is whole. It answers `{:ok, result}`, or `{:melt, result}` to melt the fuse."
  @spec run(name, (() -> {:ok, result} | {:melt, result}), context) :: {:ok, result} | :blown | {:error, :not_found}
        when result: term
  def run(name, fun, context) do
    with :ok <- ask(name, context) do
      case fun.() do
        {:ok, result} ->
          {:ok, result}

        {:melt, result} ->
          melt(name)
          {:ok, result}
      end
    end
  end

  @doc "Melts a fuse a little. `:ok` as well if there is none."
  @spec melt(name) :: :ok
  def melt(name), do: Server.call({:melt, name})

  @doc "Makes a fuse whole, with no melts."
  @spec reset(name) :: :ok | {:error, :not_found}
  def reset(name), do: Server.call({:reset, name})

  @doc "Removes a fuse."
  @spec remove(name) :: :ok | {:error, :not_found}
  def remove(name), do: Server.call({:remove, name})

  @doc "Blows a fuse until `circuit_enable/1`, whatever else is done to it but `remove/1`."
  @spec circuit_disable(name) :: :ok | {:error, :not_found}
  def circuit_disable(name), do: Server.call({:circuit, name, false})

  @doc "Ends `circuit_disable/1`: the fuse is whole."
  @spec circuit_enable(name) :: :ok | {:error, :not_found}
  def circuit_enable(name), do: Server.call({:circuit, name, true})
end
