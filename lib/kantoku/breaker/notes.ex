defmodule Kantoku.Breaker.Notes do
  # What is known of breakers beside the engine, in the instance's book, so that it outlives whatever the engine forgets: their
  # options, and the state that somebody put one into for good. Row: {{:breaker, name}, config, state or nil}.
  @moduledoc false

  alias Kantoku.Breaker.Config
  alias Kantoku.Domain.Book

  # What only a person, or a program in its stead, ends.
  @lasting [:disabled, :forced_open, :metrics_only]

  @doc "Enters a breaker, or new options of one."
  @spec put(:ets.tid(), term, Config.t()) :: :ok
  def put(book, name, config) do
    :ets.insert_new(book, {{:breaker, name}, config, nil}) || :ets.update_element(book, {:breaker, name}, {2, config})
    :ok
  end

  @doc "Enters the state that it was put into, if that is one that lasts."
  @spec set(:ets.tid(), term, Kantoku.Breaker.state()) :: boolean
  def set(book, name, state),
    do: :ets.update_element(book, {:breaker, name}, {3, if(state in @lasting, do: state)})

  @spec fetch(:ets.tid(), term) :: {Config.t(), Kantoku.Breaker.state() | nil} | nil
  def fetch(book, name) do
    case :ets.lookup(book, {:breaker, name}) do
      [{_key, config, state}] -> {config, state}
      [] -> nil
    end
  end

  @spec delete(:ets.tid(), term) :: true
  def delete(book, name), do: :ets.delete(book, {:breaker, name})

  @spec names(:ets.tid()) :: [term]
  def names(book), do: for([name] <- :ets.match(book, {{:breaker, :"$1"}, :_, :_}), do: name)

  @doc "The process that sees to breakers, dead or alive."
  @spec clerk(:ets.tid()) :: pid | nil
  def clerk(book), do: Book.seated(book, :breakers)
end
