defmodule Bench.Breakers do
  @moduledoc false
  # The benchmarks of breakers: whether a call may be made, and a call through one.
  @behaviour Bench.Suite
  @compile {:no_warn_undefined, :fuse}

  alias Bench.{Callers, Comparison, Options, Side, Stage}
  alias Bench.Breakers.{Fuse, Loops}

  @instance Bench.Breakers.Instance
  @batch 1_000

  @impl true
  def name, do: "breaker"

  @impl true
  def stages(options), do: [%Stage{build: fn -> build(options) end, clear: &Supervisor.stop/1, items: items(options)}]

  defp build(options) do
    {:ok, instance} =
      Kantoku.start_link(name: @instance, engine: options.engine, breakers: [[name: :api], [name: "api"]])

    Loops.put_persistent_term(:api)

    if Fuse.here?() do
      Fuse.start!()
      :ok = :fuse.install(:api, {{:standard, 10, 10_000}, {:reset, 60_000}})
    end

    instance
  end

  # A peer that is not to be had is not compared with.
  defp items(options) do
    table = [
      against_persistent_term("allow.persistent_term", :api, options),
      against_persistent_term("allow.binary.persistent_term", "api", options)
    ]

    if Fuse.here?(), do: [against_fuse(options), through(options) | table], else: table
  end

  defp against_fuse(options) do
    %Comparison{
      name: "allow.fuse",
      unit: "ops/s",
      better: :higher,
      ours: side("Kantoku.Breaker.allow?/1 of a closed breaker", options, &Loops.ask(:ours, {@instance, :api}, &1)),
      theirs: side("fuse:ask(Name, async_dirty) of a fuse that is whole", options, &Loops.ask(:fuse, :api, &1))
    }
  end

  defp against_persistent_term(comparison, name, options) do
    does = "a map in a persistent_term, the state an atomic in it"

    %Comparison{
      name: comparison,
      unit: "ops/s",
      better: :higher,
      ours: side("Kantoku.Breaker.allow?/1 of a closed breaker", options, &Loops.ask(:ours, {@instance, name}, &1)),
      theirs: side(does, options, &Loops.ask(:persistent_term, :api, &1))
    }
  end

  defp through(options) do
    %Comparison{
      name: "run.fuse",
      unit: "ops/s",
      better: :higher,
      ours: side("Kantoku.Breaker.run/2, which counts how it ended", options, &Loops.run(:ours, {@instance, :api}, &1)),
      theirs: side("fuse:run(Name, Fun, async_dirty), which counts only melts", options, &Loops.run(:fuse, :api, &1))
    }
  end

  defp side(does, options, loop) do
    millis = Options.size(options, 500, 150)
    callers = System.schedulers_online()

    %Side{
      does: "#{does}; #{callers} looping callers",
      round: fn _stage ->
        Callers.rate(callers, millis, &Function.identity/1, fn state -> {@batch, batch(loop, state)} end)
      end
    }
  end

  defp batch(loop, state) do
    :ok = loop.(@batch)
    state
  end
end
