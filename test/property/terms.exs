# PropEr is an OTP library of the system, and Mix may have left those out of the code path.
for path <- Path.wildcard(Path.join(:code.lib_dir(), "proper-*/ebin")), do: :code.add_path(to_charlist(path))

defmodule Kantoku.Terms do
  @moduledoc """
  Terms of every kind for properties, and a way to run those.
  """
  @doc """
  Runs a property `tests` times, in the longer runs KANTOKU_TIMES as often. Raises with the smallest counterexample and
  why it fails.
  """
  @spec check(term, (term -> boolean), pos_integer) :: :ok
  def check(type, property, tests) do
    case :proper.counterexample(:proper.forall(type, &holds?(property, &1)), [:quiet, {:numtests, tests * times()}]) do
      true ->
        :ok

      [counterexample] ->
        why = Process.get({__MODULE__, :why}, "it answers false")
        raise ExUnit.AssertionError, message: "#{why}\nfor #{inspect(counterexample, limit: :infinity)}"
    end
  end

  defp times, do: String.to_integer(System.get_env("KANTOKU_TIMES", "1"))

  # PropEr 1.2 stumbles over exceptions on newer OTPs, so none must reach it.
  defp holds?(property, input) do
    property.(input)
  rescue
    error ->
      Process.put({__MODULE__, :why}, Exception.format(:error, error, __STACKTRACE__))
      false
  end

  @doc "Lists of keys, in which some are equal, some nearly so, and some equal but made anew."
  @spec keys() :: term
  def keys do
    pool = :proper_types.non_empty(:proper_types.list(key()))

    :proper_types.bind(
      pool,
      fn keys -> :proper_types.list(:proper_types.oneof(Enum.flat_map(keys, &[&1, remade(&1), near(&1)]))) end,
      false
    )
  end

  @doc "An equal term, made by other means."
  @spec remade(term) :: term
  def remade(term) when is_function(term), do: term |> :erlang.term_to_binary() |> :erlang.binary_to_term()
  def remade(term), do: Task.async(fn -> term end) |> Task.await()

  defp near(integer) when is_integer(integer) and abs(integer) < 1_000_000, do: integer * 1.0
  defp near(float) when is_float(float), do: -float
  defp near(atom) when is_atom(atom), do: Atom.to_string(atom)
  defp near(list) when is_list(list), do: {list}
  defp near(tuple) when is_tuple(tuple), do: tuple |> Tuple.to_list() |> Enum.map(&near/1) |> List.to_tuple()
  defp near(map) when is_map(map), do: Map.new(map, fn {key, value} -> {key, near(value)} end)
  defp near(other), do: [other]

  defp key do
    leaf = :proper_types.oneof([:proper_types.any(), small(), :proper_types.elements(special()), zero()])

    :proper_types.oneof([
      leaf,
      {leaf, leaf},
      :proper_types.list(leaf),
      :proper_types.bind(:proper_types.list({leaf, leaf}), &Map.new/1, false),
      :proper_types.bind(leaf, &closure/1, false)
    ])
  end

  defp small, do: :proper_types.integer(-3, 3)

  defp zero, do: :proper_types.bind(:proper_types.elements([0, 1]), fn sign -> float(<<sign::1, 0::63>>) end, false)
  defp float(<<float::float>>), do: float

  defp closure(term), do: fn -> term end

  defp special do
    [
      self(),
      make_ref(),
      :_,
      :"$1",
      :"$_",
      nil,
      "",
      <<1::3>>,
      2 ** 59,
      -(2 ** 59) - 1,
      2 ** 70,
      &Enum.map/2,
      [1 | 2],
      %{}
    ] ++
      [Process.whereis(:init), String.duplicate("k", 300), {:_, :"$1"}, {1, 1.0}]
  end
end
