defmodule Kantoku.Resources.Families do
  @moduledoc false
  # What was read of the VM and of an instance's agents as metrics. Names of the VM's are those of prometheus.erl 6; of a process those of
  # Prometheus' client libraries. Reads nothing.

  alias Kantoku.Metrics.{Definition, Whose}

  @directions [receive: :input, transmit: :output]

  # Domains and pools with a series of their own, of each family.
  @own 100

  @agents [
    {:agents, "kantoku_agents_observed", nil, "Agents that were looked at."},
    {:memory, "kantoku_agents_memory_bytes", "bytes", "Set aside for the heaps of agents."},
    {:heap, "kantoku_agents_heap_bytes", "bytes", "In use of the heaps of agents."},
    {:binaries, "kantoku_agents_binary_bytes", "bytes", "Large binaries that agents hold."},
    {:mailbox, "kantoku_agents_mailbox_messages", nil, "Messages that wait for agents."},
    {:reductions, "kantoku_agents_reductions_per_second", nil, "Reductions of agents a second."}
  ]

  @spec of_instance(atom, map) :: [Kantoku.Resources.family()]
  def of_instance(instance, %{domains: domains, pools: pools, others: others, io: io}) do
    places = for({name, sums} <- domains, do: {name, "", sums}) ++ for({name, sums} <- pools, do: {"", name, sums})
    places = capped(places)

    for({figure, name, unit, help} <- @agents, do: gauge(name, unit, help, series(places, instance, figure))) ++
      [
        gauge("kantoku_unattributed_processes", nil, "Processes that are none of the instance's agents.", [
          {%{instance: instance}, others.processes}
        ]),
        gauge(
          "kantoku_unattributed_memory_bytes",
          "bytes",
          "Memory of processes that is in no heap of the instance's agents.",
          [
            {%{instance: instance}, others.memory}
          ]
        ),
        counter(
          "kantoku_agents_io_bytes",
          "bytes",
          "Bytes that agents took in and gave out through ports and sockets.",
          carried(instance, io)
        )
      ]
  end

  defp series(places, instance, figure) do
    for {domain, pool, sums} <- places,
        do: {%{instance: instance, domain: domain, pool: pool}, Map.fetch!(sums, figure)}
  end

  defp capped(places) when length(places) <= @own, do: places

  defp capped(places) do
    {own, rest} = places |> Enum.sort_by(fn {_, _, sums} -> sums.memory end, :desc) |> Enum.split(@own - 1)
    other = rest |> Enum.map(&elem(&1, 2)) |> Enum.reduce(&Kantoku.Resources.Census.add/2)
    own ++ [{"other", "other", other}]
  end

  # In order of their names, so that who has a series of its own keeps it: they are counters.
  defp carried(instance, io) do
    {own, rest} = io |> Enum.sort() |> Enum.split(if(map_size(io) <= @own, do: @own, else: @own - 1))
    places = for({domain, bytes} <- own, do: {Whose.place(domain), bytes}) ++ folded(rest)

    for {place, bytes} <- places,
        {direction, figure} <- @directions,
        do: {Map.new([instance: instance, direction: direction] ++ place), Map.fetch!(bytes, figure)}
  end

  defp folded([]), do: []

  defp folded(rest) do
    sum = fn one, other -> Map.merge(one, other, fn _figure, left, right -> left + right end) end
    [{[domain: "other", pool: "other"], rest |> Enum.map(&elem(&1, 1)) |> Enum.reduce(sum)}]
  end

  @spec of_vm(Kantoku.Resources.VM.t()) :: [Kantoku.Resources.family()]
  def of_vm(vm), do: memory(vm.memory) ++ counts(vm) ++ statistics(vm) ++ distribution(vm.distribution) ++ os(vm.os)

  defp memory(m) do
    other = m.system - m.atom - m.binary - m.code - m.ets

    [
      gauge(
        "erlang_vm_memory_bytes",
        "bytes",
        "Memory that the VM has allocated.",
        kinds(:kind, system: m.system, processes: m.processes)
      ),
      gauge(
        "erlang_vm_memory_processes_bytes",
        "bytes",
        "Memory that is allocated for processes.",
        kinds(:usage, used: m.processes_used, free: m.processes - m.processes_used)
      ),
      gauge(
        "erlang_vm_memory_system_bytes",
        "bytes",
        "Memory that is allocated for other than processes.",
        kinds(:usage, atom: m.atom, binary: m.binary, code: m.code, ets: m.ets, other: other)
      ),
      gauge(
        "erlang_vm_memory_atom_bytes",
        "bytes",
        "Memory that is allocated for atoms.",
        kinds(:usage, used: m.atom_used, free: m.atom - m.atom_used)
      )
    ]
  end

  defp counts(vm) do
    for {name, help, value} <- [
          {"erlang_vm_processes", "Processes.", vm.processes.count},
          {"erlang_vm_process_limit", "Processes that may be.", vm.processes.limit},
          {"erlang_vm_ports", "Ports.", vm.ports.count},
          {"erlang_vm_port_limit", "Ports that may be.", vm.ports.limit},
          {"erlang_vm_atoms", "Atoms.", vm.atoms.count},
          {"erlang_vm_atom_limit", "Atoms that may be.", vm.atoms.limit},
          {"erlang_vm_memory_ets_tables", "Tables of ETS.", vm.tables.count},
          {"erlang_vm_memory_dets_tables", "Tables of DETS that are open.", vm.dets},
          {"erlang_vm_ets_limit", "Tables of ETS that may be.", vm.tables.limit},
          {"erlang_vm_schedulers_online", "Schedulers that are online.", vm.schedulers.online}
        ],
        do: gauge(name, nil, help, [{%{}, value}])
  end

  defp statistics(%{schedulers: schedulers, io: io, reductions: reductions}) do
    measured(schedulers) ++
      [
        counter("erlang_vm_statistics_bytes_received", nil, "Bytes that came in through ports.", [{%{}, io.input}]),
        counter("erlang_vm_statistics_bytes_output", nil, "Bytes that went out through ports.", [{%{}, io.output}]),
        counter(
          "kantoku_unattributed_io_bytes",
          "bytes",
          "Bytes that came in and went out of the VM through what is no agent's.",
          for({direction, figure} <- @directions, do: {%{direction: direction}, Map.fetch!(io.unattributed, figure)})
        ),
        counter("erlang_vm_statistics_reductions", nil, "Reductions.", [{%{}, reductions}]),
        gauge("erlang_vm_statistics_run_queues_length", nil, "Processes and ports that are ready to run and wait.", [
          {%{}, Enum.sum(schedulers.run_queues)}
        ]),
        gauge("erlang_vm_statistics_dirty_cpu_run_queue_length", nil, "What waits for dirty CPU schedulers.", [
          {%{}, schedulers.dirty_cpu_run_queue}
        ]),
        gauge("erlang_vm_statistics_dirty_io_run_queue_length", nil, "What waits for dirty I/O schedulers.", [
          {%{}, schedulers.dirty_io_run_queue}
        ])
      ]
  end

  defp measured(%{utilization: normal, dirty_cpu_utilization: cpu, dirty_io_utilization: io}) do
    case for {_kind, busy} = told when busy != nil <- [normal: normal, dirty_cpu: cpu, dirty_io: io], do: told do
      [] ->
        []

      told ->
        help = "How busy schedulers of a kind are that are online, from 0 to 1."
        [gauge("kantoku_vm_scheduler_utilization_ratio", "ratio", help, kinds(:kind, told))]
    end
  end

  # prometheus.erl has these as gauges, too: they begin anew with each connection.
  defp distribution(connections) do
    for {figure, name, help} <- [
          {:input, "erlang_vm_dist_recv_bytes", "Bytes received of a node."},
          {:output, "erlang_vm_dist_send_bytes", "Bytes sent to a node."},
          {:pending, "erlang_vm_dist_send_pend_bytes", "Bytes that wait to be sent to a node."}
        ] do
      told = for %{^figure => value, node: node} when value != nil <- connections, do: {%{peer: node}, value}
      gauge(name, "bytes", help, told)
    end
  end

  defp os(nil), do: []

  defp os(os) do
    [
      counter("process_cpu_seconds", "seconds", "Processor time, user and system.", [{%{}, os.cpu_seconds}]),
      gauge("process_resident_memory_bytes", "bytes", "Memory that is resident.", [{%{}, os.resident}])
    ]
  end

  defp kinds(label, values), do: for({kind, value} <- values, do: {%{label => kind}, value})

  defp gauge(name, unit, help, series), do: family(:gauge, name, unit, help, series)
  defp counter(name, unit, help, series), do: family(:counter, name, unit, help, series)

  defp family(kind, name, unit, help, series) do
    series = for {labels, value} <- series, do: %{labels: Map.new(labels, &text/1), value: value / 1}
    %{name: name, help: help, unit: unit, kind: kind, series: series}
  end

  # As in all other metrics, so that they can be joined.
  defp text({label, value}), do: {Atom.to_string(label), Definition.text(value)}
end
