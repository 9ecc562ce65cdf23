# Runs the benchmarks: `mix run bench/elixir/run.exs -- [NAME...] [--quick] [--engine native|elixir] [--only PATTERN]`.

root = __DIR__

# Jido's agents are measured where Jido is to be had.
jido = if Kantoku.Jido.compiled?(), do: ",jido", else: ""

[root, "{harness,registry,lifecycle,pool,overload,breaker,health,scaling,telemetry,checks#{jido}}", "*.ex"]
|> Path.join()
|> Path.wildcard()
|> Kernel.ParallelCompiler.compile(return_diagnostics: true)

Bench.Console.main(System.argv(), Path.expand("../results", root))
