defmodule Kantoku.Migration.Crowd do
  # How many use an old pool at once, so that a shadow can say what ours would have done with them. Who enters leaves a row under its
  # pid; what a killed caller leaves is swept. Knows no pool.
  #
  # Rows: {{:count, pool}, n}; {{:user, pid, ref}, pool}.
  @moduledoc false

  @table __MODULE__

  @type pool :: {instance :: atom, pool :: atom}
  @opaque place :: {:user, pid, reference}

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, write_concurrency: true])
    :ok
  end

  @doc "The caller comes; how many there are with it."
  @spec enter(pool) :: {place, pos_integer}
  def enter(pool) do
    place = {:user, self(), make_ref()}
    :ets.insert(@table, {place, pool})
    {place, :ets.update_counter(@table, {:count, pool}, {2, 1}, {{:count, pool}, 0})}
  end

  @doc "The caller goes."
  @spec leave(place) :: :ok
  def leave(place) do
    for {_place, pool} <- :ets.take(@table, place), do: :ets.update_counter(@table, {:count, pool}, {2, -1, 0, 0})
    :ok
  end

  @doc "Whether anybody is here."
  @spec any?() :: boolean
  def any?, do: :ets.select(@table, [{{{:user, :_, :_}, :_}, [], [true]}], 1) != :"$end_of_table"

  @doc "Has all those go who are dead."
  @spec sweep() :: :ok
  def sweep do
    for [pid, ref] <- :ets.match(@table, {{:user, :"$1", :"$2"}, :_}),
        not Process.alive?(pid),
        do: leave({:user, pid, ref})

    :ok
  end
end
