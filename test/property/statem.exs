# PropEr is an OTP library of the system, and Mix may have left those out of the code path.
for path <- Path.wildcard(Path.join(:code.lib_dir(), "proper-*/ebin")), do: :code.add_path(to_charlist(path))

defmodule Kantoku.Statem do
  @moduledoc """
  Runs the commands of a `:proper_statem` module, one after another or by two processes at once.

  A module of commands has PropEr's callbacks, over states in which several are possible, and

    * `open(state, mode)` - makes the world that commands run in, as `{:var, :world}` in their calls;
    * `close(world)`;
    * `outcomes(state, command)` - what a command may answer in one possible state, each with the state after it;
    * `unlike(world, state)` - what is otherwise than in a state, once all is quiet: `[{question, answer, expected}]`.

  A failure shows the smallest counterexample, and a line that runs it again: `KANTOKU_REPLAY` holds the commands.
  """

  @type mode :: :sequential | :parallel

  # Of two processes each case is a matter of chance: tried so often, and more often once it is being shrunk.
  @tries 2
  @tries_again 25
  # Seconds.
  @shrinking 60

  @doc "Checks `times` cases, in the longer runs KANTOKU_TIMES as many. `name` tells the property in what it prints."
  @spec check(String.t(), module, mode, map, pos_integer) :: :ok
  def check(name, module, mode, state, times) do
    case replayed(name) do
      nil -> generated(name, module, mode, state, times)
      commands -> judge(name, commands, Enum.all?(1..20, fn _ -> holds?(module, mode, commands, @tries_again) end))
    end
  end

  defp generated(name, module, mode, state, times) do
    Process.delete(__MODULE__)
    property = :proper.forall(type(mode, module, state), &case_holds?(module, mode, &1))
    times = times * String.to_integer(System.get_env("KANTOKU_TIMES", "1"))

    case :proper.counterexample(property, [:quiet, {:numtests, times}, {:max_shrinks, 300}]) do
      true -> :ok
      [commands] -> judge(name, commands, false)
    end
  end

  defp type(:sequential, module, state), do: :proper_statem.more_commands(2, :proper_statem.commands(module, [state]))
  defp type(:parallel, module, state), do: :proper_statem.parallel_commands(module, [state])

  # Where shrinking takes too long, what was found so far has to do.
  defp case_holds?(module, mode, commands) do
    case Process.get(__MODULE__) do
      nil -> holds?(module, mode, commands, tries(mode, @tries))
      {_why, failed} -> now() > failed + @shrinking or holds?(module, mode, commands, tries(mode, @tries_again))
    end
  end

  defp tries(:sequential, _tries), do: 1
  defp tries(:parallel, tries), do: tries

  defp now, do: System.monotonic_time(:second)

  defp holds?(module, mode, commands, tries), do: Enum.all?(1..tries, fn _ -> why(module, mode, commands) == nil end)

  # Nothing may be raised into PropEr 1.2, which stumbles over it on newer OTPs.
  defp why(module, mode, commands) do
    why = run(module, mode, commands)
    if why, do: failed(why)
    why
  catch
    kind, reason -> failed(Exception.format(kind, reason, __STACKTRACE__))
  end

  defp failed(why) do
    {_before, since} = Process.get(__MODULE__, {nil, now()})
    Process.put(__MODULE__, {why, since})
    why
  end

  # Running --------------------------------------------------------------------------------------------------------------

  defp run(module, mode, commands) do
    world = module.open(initial(mode, commands), mode)

    try do
      verdict(mode, module, world, commands)
    after
      module.close(world)
    end
  end

  defp initial(:sequential, [{:init, [state]} | _commands]), do: state
  defp initial(:parallel, {commands, _branches}), do: initial(:sequential, commands)

  defp verdict(:sequential, module, world, commands) do
    case :proper_statem.run_commands(module, commands, world: world) do
      {_history, states, :ok} -> ends(module, world, states)
      {history, states, {:postcondition, false}} -> answered(module, world, commands, history, states)
      {_history, _states, other} -> inspect(other)
    end
  end

  defp verdict(:parallel, module, world, commands) do
    case :proper_statem.run_parallel_commands(module, commands, world: world) do
      {history, branches, :ok} -> ending(module, world, commands, history, branches)
      {_history, branches, :no_possible_interleaving} -> "no order explains\n" <> told(branches)
      {_history, _branches, other} -> "before the branches: #{inspect(other)}"
    end
  end

  # PropEr found one order that explains the answers; every such order is an end that the world may be in.
  defp ending(module, world, {commands, _branches}, history, branches) do
    done = commands |> Enum.drop(1) |> Enum.zip(history)
    states = Enum.reduce(done, initial(:sequential, commands) |> List.wrap(), &after_done(module, &1, &2))
    paths = for branch <- branches, do: for({{:set, _, call}, answer} <- branch, do: {call, answer})

    with why when why != nil <- ends(module, world, reached(module, states, paths)), do: "#{why}\n#{told(branches)}"
  end

  defp ends(module, world, states) do
    differences = for state <- states, do: {state, module.unlike(world, state)}

    unless Enum.any?(differences, &match?({_state, []}, &1)),
      do:
        "when all is quiet, #{differences |> Enum.map(&elem(&1, 1)) |> Enum.min_by(&length/1) |> Enum.map_join("; ", &otherwise/1)}"
  end

  defp otherwise({question, answer, expected}),
    do: "#{inspect(question)} answers #{inspect(answer)}, expected #{inspect(expected)}"

  defp after_done(module, {{:set, _var, call}, {_states, answer}}, states), do: module.next_state(states, answer, call)

  defp reached(module, states, paths) do
    {ends, _seen} = walk(module, [{states, paths}], MapSet.new(), [])
    ends |> Enum.concat() |> Enum.uniq()
  end

  defp walk(_module, [], seen, ends), do: {ends, seen}

  defp walk(module, [{states, paths} = node | rest], seen, ends) do
    cond do
      states == [] or node in seen -> walk(module, rest, seen, ends)
      Enum.all?(paths, &(&1 == [])) -> walk(module, rest, seen, [states | ends])
      true -> walk(module, steps(module, states, paths) ++ rest, MapSet.put(seen, node), ends)
    end
  end

  defp steps(module, states, paths) do
    for {[{call, answer} | path], index} <- Enum.with_index(paths),
        do: {module.next_state(states, answer, call), List.replace_at(paths, index, path)}
  end

  # States ---------------------------------------------------------------------------------------------------------------

  @doc "The states after a command that answered so; the first possible one where the answer is yet to come."
  @spec next([map], term, term, (map, term -> [{term, map}])) :: [map]
  def next(states, {:var, _}, command, outcomes), do: for(state <- states, do: state |> outcomes.(command) |> first())

  def next(states, answer, command, outcomes) do
    Enum.uniq(for state <- states, {^answer, next} <- outcomes.(state, command), do: next)
  end

  defp first([{_answer, next} | _]), do: next

  # Reporting ------------------------------------------------------------------------------------------------------------

  defp judge(_name, _commands, true), do: :ok

  defp judge(name, commands, false) do
    raise ExUnit.AssertionError,
      message: """
      #{name}: #{elem(Process.get(__MODULE__), 0)}
      #{shown(commands)}
      To run this again, the same command with KANTOKU_REPLAY=#{packed({name, commands})}
      """
  end

  defp answered(module, world, commands, history, states) do
    {{:set, _var, {:call, _, _, [_, command]} = call}, {_states, answer}} =
      commands |> Enum.drop(1) |> Enum.zip(history) |> List.last()

    case module.next_state(states, answer, call) do
      [] -> "#{inspect(command)} answers #{inspect(answer)}, expected #{expected(module, states, command)}"
      next -> "after #{inspect(command)}, #{ends(module, world, next) || "all is well, but too late"}"
    end
  end

  defp expected(module, states, command) do
    Enum.map_join(states, " or ", fn state ->
      state |> module.outcomes(command) |> Enum.map_join(" or ", &inspect(elem(&1, 0)))
    end)
  end

  defp told(branches) do
    for branch <- branches, branch != [] do
      ["  at once\n" | for({{:set, _, call}, answer} <- branch, do: "    #{line(call)} -> #{inspect(answer)}\n")]
    end
    |> IO.iodata_to_binary()
  end

  defp shown({commands, branches}) do
    Enum.join([shown(commands) | for(branch <- branches, branch != [], do: "  at once\n" <> shown(branch))], "\n")
  end

  defp shown([{:init, [state]} | commands]), do: "from #{inspect(state)}\n" <> shown(commands)
  defp shown(commands), do: Enum.map_join(commands, "\n", fn {:set, _, call} -> "    #{line(call)}" end)

  defp line({:call, _module, _function, [_world, command]}), do: inspect(command)

  defp packed(term), do: term |> :erlang.term_to_binary([:compressed]) |> Base.url_encode64(padding: false)

  defp replayed(name) do
    with packed when packed != nil <- System.get_env("KANTOKU_REPLAY"),
         {^name, commands} <- packed |> Base.url_decode64!(padding: false) |> :erlang.binary_to_term() do
      commands
    else
      _other -> nil
    end
  end
end
