defmodule Kantoku.Migration.Settings do
  # Which mode each feature of each subject has, who said so and when. In a table of the application's, so that it outlives the
  # instance and every process of this room; and in the instance's store, where that outlives the VM. Knows no agent.
  #
  # S1  A change is one row, replaced in one step if nobody changed it meanwhile: it is there or not, and none is lost.
  # S2  What was set at run time stands when its instance starts again, unless its option is another than when it was set: then
  #     the option is the newer word.
  #
  # Rows: {{instance, feature, subject}, gate, version, setting}; {{:rules, instance}, rules}.
  @moduledoc false

  alias Kantoku.Domain.Book
  alias Kantoku.{Instances, Pattern, Store}
  alias Kantoku.Migration.{Judge, Mode, Reversal, Tally}

  @table __MODULE__
  @kept_as {Kantoku.Migration, :settings}

  # For the store to have it, in ms.
  @patience 5_000

  @type key :: {instance :: atom, feature :: atom, subject :: term}
  @type setting :: %{
          mode: Mode.t(),
          by: term,
          at: integer,
          source: :option | :run_time,
          option: Mode.t() | nil,
          rules: Judge.rules(),
          reversal: Reversal.t() | nil
        }

  @doc "Makes the table, which lives as long as the calling process."
  @spec new_table() :: :ok
  def new_table do
    :ets.new(@table, [:named_table, :public, read_concurrency: true])
    :ok
  end

  # Reading ------------------------------------------------------------------------------------------------------------

  @doc "The mode as requests read it: one look-up."
  @spec gate(atom, atom, term) :: Mode.gate()
  def gate(instance, feature, subject) do
    case :ets.lookup(@table, {instance, feature, subject}) do
      [{_key, gate, _version, _setting}] -> gate
      [] -> :off
    end
  end

  @doc "The same for a request that would be compared in a shadow: `:off` while that is shed."
  @spec gate_of_request(atom, atom, term) :: Mode.gate()
  def gate_of_request(instance, feature, subject) do
    with :shadow <- gate(instance, feature, subject),
         do: if(Kantoku.Degradation.sheds?(instance, :background), do: :off, else: :shadow)
  end

  @spec fetch(key) :: {Mode.gate(), version :: integer, setting} | nil
  def fetch(key) do
    case :ets.lookup(@table, key) do
      [{_key, gate, version, setting}] -> {gate, version, setting}
      [] -> nil
    end
  end

  @doc "All settings of an instance, or of all."
  @spec all(atom) :: [{key, Mode.gate(), setting}]
  def all(instance \\ :_) do
    for {key, gate, _version, setting} <- :ets.match_object(@table, {{instance, :_, :_}, :_, :_, :_}),
        do: {key, gate, setting}
  end

  @doc "The rules that an instance's canaries are judged by unless told otherwise."
  @spec rules(atom) :: Judge.rules()
  def rules(instance) do
    case :ets.lookup(@table, {:rules, instance}) do
      [{_key, rules}] -> rules
      [] -> Judge.rules!([], "Kantoku.Migration")
    end
  end

  # Writing ------------------------------------------------------------------------------------------------------------

  @doc "Replaces a setting by what `fun` makes of it (`nil`: there is none); `fun` may answer `:keep`. Both, before and after."
  @spec change(key, (setting | nil -> setting | :keep)) :: {setting | nil, setting | nil}
  def change(key, fun) do
    {version, before} = current(fetch(key))

    case fun.(before) do
      :keep -> {before, before}
      changed -> if swap(key, version, changed), do: {before, changed}, else: change(key, fun)
    end
  end

  defp current(nil), do: {nil, nil}
  defp current({_gate, version, setting}), do: {version, setting}

  defp swap(key, nil, setting), do: :ets.insert_new(@table, {key, opened(key, setting), 1, setting})

  defp swap(key, version, setting) do
    new = {{{:element, 1, :"$_"}, {:const, opened(key, setting)}, version + 1, {:const, setting}}}
    :ets.select_replace(@table, [{{Pattern.bound(key), :_, version, :_}, [Pattern.element_is(1, key)], [new]}]) == 1
  end

  # A canary whose percentage changes goes on counting.
  defp opened(key, %{mode: {:canary, percent}}) do
    tally =
      case fetch(key) do
        {{:canary, _limit, tally}, _version, _setting} -> tally
        _other -> Tally.new(System.monotonic_time(:millisecond))
      end

    {:canary, Mode.limit(percent), tally}
  end

  defp opened(_key, %{mode: mode}), do: mode

  @doc "Goes back to the option, or to nothing; what stood before."
  @spec reset(key) :: setting | nil
  def reset(key) do
    case fetch(key) do
      nil ->
        nil

      {_gate, _version, %{option: nil} = setting} ->
        :ets.delete(@table, key)
        setting

      {_gate, _version, %{option: option} = setting} ->
        change(key, fn _now -> %{of_option(option, setting.rules) | at: now()} end)
        setting
    end
  end

  defp of_option(mode, rules),
    do: %{mode: mode, by: :option, at: now(), source: :option, option: mode, rules: rules, reversal: nil}

  defp now, do: System.system_time(:millisecond)

  # An instance that starts -----------------------------------------------------------------------------------------------

  @doc "Enters the options of an instance that starts, beside what was set at run time."
  @spec open(atom, %{rules: Judge.rules(), modes: %{{atom, term} => Mode.t()}}, Store.t() | nil) :: :ok
  def open(instance, %{rules: rules, modes: modes}, store) do
    :ets.insert(@table, {{:rules, instance}, rules})
    for {key, setting} <- kept(store, instance), do: enter(key, setting)

    for {{_, feature, subject} = key, _gate, setting} <- all(instance),
        do: reopen(key, setting, modes[{feature, subject}], rules)

    for {{feature, subject}, mode} <- modes, do: enter({instance, feature, subject}, of_option(mode, rules))
    :ok
  end

  defp enter(key, setting), do: change(key, fn known -> if known, do: :keep, else: setting end)

  defp reopen(_key, %{option: option, source: :run_time}, option, _rules), do: :ok
  defp reopen(key, _setting, nil, _rules), do: :ets.delete(@table, key)
  defp reopen(key, _setting, option, rules), do: change(key, fn _old -> of_option(option, rules) end)

  # Beyond the VM --------------------------------------------------------------------------------------------------------

  defp kept(nil, _instance), do: []

  defp kept(store, instance) do
    case Store.durable?(store) && Store.get(store, @kept_as) do
      {:ok, _version, bytes} ->
        for {{feature, subject}, setting} <- :erlang.binary_to_term(bytes), do: {{instance, feature, subject}, setting}

      _nothing ->
        []
    end
  end

  @doc "Has what was set at run time written, where the instance's store outlives the VM."
  @spec save(atom) :: :ok | {:error, term}
  def save(instance) do
    case Instances.reading(instance, fn _rows, book -> Book.agent_options(book).store end) do
      {:error, _not_running} -> :ok
      nil -> :ok
      store -> if Store.durable?(store), do: write(store, instance), else: :ok
    end
  end

  defp write(store, instance) do
    settings =
      for {{_, feature, subject}, _gate, %{source: :run_time} = setting} <- all(instance),
          do: {{feature, subject}, setting}

    Store.overwrite(store, @kept_as, :erlang.term_to_binary(settings), @patience)
  end
end
