# Compiles the demo's modules, once for each VM. They are no part of the package.
{:ok, _modules, _warnings} =
  [__DIR__, "*.ex"] |> Path.join() |> Path.wildcard() |> Kernel.ParallelCompiler.compile(return_diagnostics: true)
