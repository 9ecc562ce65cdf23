# Runs the benchmarks: `mix run bench/elixir/run.exs -- [NAME...] [--quick] [--engine native|elixir] [--only PATTERN]`.

root = __DIR__

[root, "{harness,registry,lifecycle,pool,breaker,scaling,checks}", "*.ex"]
|> Path.join()
|> Path.wildcard()
|> Kernel.ParallelCompiler.compile(return_diagnostics: true)

Bench.Console.main(System.argv(), Path.expand("../results", root))
