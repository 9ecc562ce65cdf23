defmodule Kantoku.Alert.Condition do
  # Of what a condition is so now, as labels with what was found. Reads what others keep; decides nothing about alerts.
  @moduledoc false

  alias Kantoku.Alert.Rule
  alias Kantoku.{Breaker, Exporters, Health, Instances, Pool, SLO, Store}
  alias Kantoku.Domain.Book

  @typedoc "What it is so of, and what was found."
  @type reading :: {labels :: %{String.t() => String.t()}, value :: term}

  @doc "Where it is so. Of events and parked agents the evaluator knows (`Kantoku.Alert.Ears`)."
  @spec readings(atom, Rule.t()) :: [reading]
  def readings(instance, %{condition: condition}), do: read(instance, condition)

  defp read(instance, {:health, :domains, states}),
    do: Enum.flat_map(domains(instance), &read(instance, {:health, {:domain, &1}, states}))

  defp read(instance, {:health, :pools, states}),
    do: Enum.flat_map(listed(Pool.names(instance)), &read(instance, {:health, {:pool, &1}, states}))

  defp read(instance, {:health, of, states}) do
    with {:ok, %{state: state}} <- Health.status(instance, of), true <- state in List.wrap(states) do
      [{labels(of), state}]
    else
      _not_so -> []
    end
  end

  defp read(instance, {:breakers, states}),
    do: Enum.flat_map(listed(Breaker.names(instance)), &read(instance, {:breaker, &1, states}))

  defp read(instance, {:breaker, name, states}) do
    with {:ok, %{state: state}} <- Breaker.status({instance, name}), true <- state in List.wrap(states) do
      [{%{"breaker" => text(name)}, state}]
    else
      _not_so -> []
    end
  end

  defp read(instance, {:pools, key, how, than}),
    do: Enum.flat_map(listed(Pool.names(instance)), &read(instance, {:pool, &1, key, how, than}))

  defp read(instance, {:pool, name, key, how, than}) do
    with {:ok, %{^key => value}} <- Pool.status({instance, name}), true <- beyond?(value, how, than) do
      [{%{"pool" => text(name)}, value}]
    else
      _not_so -> []
    end
  end

  defp read(instance, :burn_rates), do: instance |> SLO.reports() |> listed() |> Enum.flat_map(&burning/1)

  defp read(instance, {:burn_rate, name}) do
    with {:ok, report} <- SLO.report(instance, name), do: burning(report), else: (_absent -> [])
  end

  defp read(instance, {:budgets, left}), do: instance |> SLO.reports() |> listed() |> Enum.flat_map(&short(&1, left))

  defp read(instance, {:budget, name, left}) do
    with {:ok, report} <- SLO.report(instance, name), do: short(report, left), else: (_absent -> [])
  end

  defp read(instance, :exporters_refused),
    do: for({what, error} <- Exporters.Members.refused(instance), do: {%{"exporter" => text(what)}, cause(error)})

  defp read(instance, {:store, :failing}) do
    case standing(instance) do
      %{failing_for: ms} when is_integer(ms) -> [{%{}, ms}]
      _well -> []
    end
  end

  defp read(instance, {:store, :set_aside, within}) do
    case standing(instance) do
      %{set_aside_ago: ms} when is_integer(ms) and ms < within -> [{%{}, ms}]
      _long_ago -> []
    end
  end

  defp standing(instance) do
    case Instances.reading(instance, fn _rows, book -> {:ok, Book.agent_options(book).store} end) do
      {:ok, {_module, _ref} = store} -> Store.standing(store)
      _none_or_ended -> %{}
    end
  end

  defp cause(%{details: details, reason: reason}), do: Map.get(details, :cause, reason)

  defp listed({:ok, list}), do: list
  defp listed({:error, _not_running}), do: []

  defp domains(instance) do
    {:ok, domains} = Instances.reading(instance, fn _rows, book -> {:ok, Book.domains(book)} end)
    Enum.reject(domains, &match?({:pool, _name}, &1))
  end

  defp beyond?(value, :above, than), do: is_number(value) and value > than
  defp beyond?(value, :below, than), do: is_number(value) and value < than

  # One alert for each severity, of the fastest pair that burns.
  defp burning(report) do
    for %{burning: true} = pair <- Enum.reverse(report.burn_rates),
        into: %{},
        do: {%{"objective" => text(report.name), "severity" => text(pair.severity)}, Float.round(pair.long_rate / 1, 2)}
  end

  defp short(%{budget: %{left: left}, name: name}, percent),
    do: if(left * 100 < percent, do: [{%{"objective" => text(name)}, Float.round(left * 100 / 1, 2)}], else: [])

  defp labels(:instance), do: %{}
  defp labels({kind, name}), do: %{"#{kind}" => text(name)}

  @doc "A term as the value of a label."
  @spec text(term) :: String.t()
  def text(term) when is_binary(term), do: if(String.valid?(term), do: term, else: inspect(term))

  def text(term) when is_atom(term) do
    case Atom.to_string(term) do
      "Elixir." <> module -> module
      name -> name
    end
  end

  def text(term), do: inspect(term)
end
