defmodule Kantoku.Resources.Report do
  @moduledoc false
  # Resources as text for people. Reads nothing.

  @columns [:agents, :memory, :heap, :binaries, :mailbox, :reductions]

  @spec text(atom, map, map, [{atom, [map]}]) :: String.t()
  def text(instance, vm, sums, tops) do
    Enum.join([machine(vm), "", places(instance, sums) | Enum.flat_map(tops, &["", first(&1)])], "\n") <> "\n"
  end

  defp machine(%{schedulers: schedulers, memory: memory, os: os} = vm) do
    waiting = Enum.sum(schedulers.run_queues)

    busy = if schedulers.utilization, do: ", #{round(schedulers.utilization * 100)} % busy", else: ""

    resident =
      if os, do: ", #{bytes(os.resident)} resident, #{Float.round(os.cpu_seconds, 1)} s of processors", else: ""

    "VM: #{bytes(memory.total)}#{resident}; #{schedulers.online} schedulers#{busy}, #{waiting} waiting; " <>
      "#{share(vm.processes)} processes, #{share(vm.ports)} ports, #{share(vm.atoms)} atoms; " <>
      "#{bytes(vm.io.input)} in, #{bytes(vm.io.output)} out"
  end

  defp share(%{count: count, limit: limit}), do: "#{count}/#{limit}"

  defp places(instance, %{domains: domains, pools: pools, all: all, others: others, age: age}) do
    rows =
      for({name, sums} <- Enum.sort(domains), do: {"domain #{inspect(name)}", sums}) ++
        for({name, sums} <- Enum.sort(pools), do: {"pool #{inspect(name)}", sums}) ++ [{"all", all}]

    seen = if age, do: "seen #{age} ms ago", else: "not all seen yet"
    header = ["#{inspect(instance)}, #{seen}" | Enum.map(@columns, &Atom.to_string/1)]
    others = ["others", "#{others.processes}", bytes(others.memory), "", "", "", ""]

    table(
      [header | Enum.map(rows, fn {name, sums} -> [name | Enum.map(@columns, &shown(&1, sums[&1]))] end)] ++ [others]
    )
  end

  defp first({kind, entries}) do
    header = ["most #{kind}", "domain" | Enum.map(tl(@columns), &Atom.to_string/1)]

    rows =
      for entry <- entries,
          do: [inspect(entry.id), inspect(entry.domain) | Enum.map(tl(@columns), &shown(&1, entry[&1]))]

    table([header | rows])
  end

  defp shown(figure, value) when figure in [:memory, :heap, :binaries], do: bytes(value)
  defp shown(_figure, nil), do: "-"
  defp shown(_figure, value), do: Integer.to_string(value)

  @units [{0x40000000, "GiB"}, {0x100000, "MiB"}, {0x400, "KiB"}]

  defp bytes(bytes) do
    case Enum.find(@units, fn {size, _unit} -> bytes >= size end) do
      {size, unit} -> "#{Float.round(bytes / size, 1)} #{unit}"
      nil -> "#{bytes} B"
    end
  end

  defp table(rows) do
    widths =
      rows |> Enum.zip_with(& &1) |> Enum.map(fn column -> column |> Enum.map(&String.length/1) |> Enum.max() end)

    Enum.map_join(rows, "\n", fn row ->
      row |> Enum.zip_with(widths, &String.pad_trailing/2) |> Enum.join("  ") |> String.trim_trailing()
    end)
  end
end
