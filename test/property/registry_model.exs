defmodule Kantoku.RegistryModel do
  @moduledoc """
  What a registry is to answer, as a pure function. Owners stand in numbered slots; who is revived there is another process.

  `outcomes/2` gives each possible answer with the state after it. There is more than one only for what runs in an owner that is
  killed meanwhile: then it was done or it was not.
  """

  defstruct [:keys, :resolver, traps?: false, owners: %{}, entries: [], watches: [], lives: 0]

  @type t :: %__MODULE__{}

  @doc "A registry with `slots` living owners. `traps?` says that an owner survives that its name is taken over."
  @spec new(:unique | :duplicate, :keep | :replace | :higher, pos_integer, boolean) :: t
  def new(keys, resolver, slots, traps?) do
    owners = for slot <- 1..slots, into: %{}, do: {slot, {slot, 1}}
    %__MODULE__{keys: keys, resolver: resolver, traps?: traps?, owners: owners}
  end

  @doc "What a command may answer, and the state after it. The first is what it answers if nobody disturbs it."
  @spec outcomes(t, tuple | atom) :: [{term, t}]
  def outcomes(state, command) do
    case owner(state, command) do
      :anyone -> [apply_to(state, command)]
      :dead -> [{:dead, state}, {:died, state}]
      _owner -> disturbed(state, apply_to(state, command))
    end
  end

  # Who dies at a command has taken its entries with it once that is seen.
  defp disturbed(%{traps?: false}, outcome), do: [outcome]
  defp disturbed(state, {_answer, next} = outcome), do: [outcome, {:died, state}, {:died, next}]

  # The commands that run in an owner have its slot second.
  @own [:register, :unregister, :unregister_match, :update]

  defp owner(state, command) when is_tuple(command) and elem(command, 0) in @own, do: state.owners[elem(command, 1)]
  defp owner(_state, _command), do: :anyone

  # Commands -------------------------------------------------------------------------------------------------------------

  defp apply_to(%{keys: :duplicate} = state, {:register, slot, key, value}),
    do: {:ok, enter(state, state.owners[slot], key, value)}

  defp apply_to(state, {:register, slot, key, value}) do
    owner = state.owners[slot]

    case at(state, key) do
      nil -> {:ok, enter(state, owner, key, value)}
      %{owner: ^owner} -> {{:taken, owner}, state}
      old -> contest(state, old, owner, key, value)
    end
  end

  defp apply_to(state, {:unregister, slot, key}) do
    owner = state.owners[slot]
    {:ok, leave(state, &(&1.key === key and &1.owner == owner))}
  end

  defp apply_to(state, {:unregister_match, slot, key, value}) do
    owner = state.owners[slot]
    {:ok, leave(state, &(&1.key === key and &1.owner == owner and &1.value == value))}
  end

  defp apply_to(state, {:update, slot, key, add}) do
    owner = state.owners[slot]

    case at(state, key) do
      %{owner: ^owner, value: old} -> {{old + add, old}, put(state, key, :value, old + add)}
      _other -> {:error, state}
    end
  end

  defp apply_to(state, {:lookup, key}), do: {for(e <- state.entries, e.key === key, do: {e.owner, e.value}), state}
  defp apply_to(state, {:whereis, key}), do: {if(entry = at(state, key), do: entry.owner, else: :undefined), state}
  defp apply_to(state, {:keys, slot}), do: {for(e <- owned(state, slot), do: e.key), state}
  defp apply_to(state, {:values, slot, key}), do: {for(e <- owned(state, slot), e.key === key, do: e.value), state}
  defp apply_to(state, {:holds?, slot, key}), do: {Enum.any?(owned(state, slot), &(&1.key === key)), state}
  defp apply_to(state, :count), do: {length(state.entries), state}

  defp apply_to(state, {:describe, key, changes}) do
    case at(state, key) do
      nil -> {:error, state}
      entry -> {:ok, describe(state, entry, changes)}
    end
  end

  defp apply_to(state, {:entry, key}) do
    case at(state, key) do
      nil -> {:error, state}
      e -> {{e.owner, e.value, e.described || %{tags: [], status: nil}, e.load}, state}
    end
  end

  # Who has a load is described, with nothing said.
  defp apply_to(state, {:add_load, key, change}) do
    case at(state, key) do
      nil -> {:error, state}
      %{described: nil} = entry -> state |> describe(entry, []) |> apply_to({:add_load, key, change})
      %{load: load} -> {{:ok, max(0, load + change)}, put(state, key, :load, max(0, load + change))}
    end
  end

  defp apply_to(state, {:find, criteria}),
    do: {state |> found(criteria) |> Enum.map(&pair/1) |> Enum.frequencies(), state}

  defp apply_to(state, {:count, criteria}), do: {state |> found(criteria) |> length(), state}

  defp apply_to(state, {:oldest, criteria, limit}),
    do: {state |> found(criteria) |> Enum.take(limit) |> Enum.map(&pair/1), state}

  defp apply_to(state, {:least_loads, criteria, limit}),
    do: {state |> found(criteria) |> Enum.map(& &1.load) |> Enum.sort() |> Enum.take(limit), state}

  defp apply_to(state, {:watch, criteria}) do
    told = for e <- found(state, criteria), into: %{}, do: {e.key, [{:join, e.owner}]}
    {:ok, %{state | watches: state.watches ++ [{criteria, told}]}}
  end

  defp apply_to(state, {:kill, slot}), do: {:ok, die(state, state.owners[slot])}

  defp apply_to(%{owners: owners, lives: lives} = state, {:revive, slot}) do
    if owners[slot] == :dead,
      do: {:ok, %{state | owners: %{owners | slot => {slot, lives + 2}}, lives: lives + 1}},
      else: {:ok, state}
  end

  # Entries --------------------------------------------------------------------------------------------------------------

  defp at(state, key), do: Enum.find(state.entries, &(&1.key === key))
  defp owned(state, slot), do: Enum.filter(state.entries, &(&1.owner == state.owners[slot]))
  defp pair(entry), do: {entry.key, entry.owner}
  defp found(state, criteria), do: Enum.filter(state.entries, &fits?(&1.described, criteria))

  defp enter(state, owner, key, value) do
    entry = %{key: key, owner: owner, value: value, described: nil, load: 0}
    %{state | entries: state.entries ++ [entry]}
  end

  defp contest(state, old, owner, key, value) do
    if replaced?(state.resolver, old.value, value),
      do: {:ok, state |> leave(&(&1 === old)) |> displaced(old.owner) |> enter(owner, key, value)},
      else: {{:taken, old.owner}, state}
  end

  defp replaced?(:higher, old, new), do: new > old
  defp replaced?(resolver, _old, _new), do: resolver == :replace

  defp displaced(%{traps?: true} = state, _owner), do: state
  defp displaced(state, owner), do: die(state, owner)

  defp die(state, :dead), do: state

  defp die(state, {slot, _life} = owner) do
    state = leave(state, &(&1.owner == owner))
    %{state | owners: %{state.owners | slot => :dead}}
  end

  defp leave(state, goes?) do
    {gone, kept} = Enum.split_with(state.entries, goes?)
    Enum.reduce(gone, %{state | entries: kept}, &tell(&2, &1, %{&1 | described: nil}))
  end

  defp describe(state, entry, changes) do
    described = Map.merge(entry.described || %{tags: [], status: nil}, Map.new(changes))
    state |> put(entry.key, :described, described) |> tell(entry, %{entry | described: described})
  end

  defp put(state, key, field, value) do
    entries = for e <- state.entries, do: if(e.key === key, do: Map.put(e, field, value), else: e)
    %{state | entries: entries}
  end

  # Criteria and watches -------------------------------------------------------------------------------------------------

  @doc "Whether a description meets criteria; what was never described meets none."
  @spec fits?(map | nil, keyword) :: boolean
  def fits?(nil, _criteria), do: false
  def fits?(described, criteria), do: Enum.all?(criteria, &meets?(described, &1))

  defp meets?(described, {:tag, tag}), do: tag in described.tags
  defp meets?(described, {:tags, tags}), do: Enum.all?(tags, &(&1 in described.tags))
  defp meets?(described, {:status, status}), do: described.status == status
  defp meets?(described, {:any, [tags: tags]}), do: Enum.any?(tags, &(&1 in described.tags))
  defp meets?(described, {:not, criteria}), do: not Enum.any?(criteria, &meets?(described, &1))

  defp tell(state, before, now) do
    watches = for {criteria, told} <- state.watches, do: {criteria, told(told, before, event(before, now, criteria))}
    %{state | watches: watches}
  end

  defp event(before, now, criteria) do
    case {fits?(before.described, criteria), fits?(now.described, criteria)} do
      {false, true} -> :join
      {true, true} -> :change
      {true, false} -> :leave
      {false, false} -> nil
    end
  end

  defp told(told, _entry, nil), do: told

  defp told(told, entry, event),
    do: Map.update(told, entry.key, [{event, entry.owner}], &(&1 ++ [{event, entry.owner}]))
end
