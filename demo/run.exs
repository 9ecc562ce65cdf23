# The main job: `mix run demo/run.exs -- [DIR] [--agents N] [--kill-rate R] [--seconds S] [--engine native|elixir] [--json]`.

[__DIR__, "*.ex"] |> Path.join() |> Path.wildcard() |> Kernel.ParallelCompiler.compile(return_diagnostics: true)

Demo.Console.main(System.argv())
