defmodule Bench.Pool.Nimble do
  @moduledoc false
  # NimblePool as a peer, where its source is to be had: compiled from a checkout, so that it is no dependency of ours. Its workers are
  # the same processes as on the other sides.

  @compile {:no_warn_undefined, NimblePool}

  alias Bench.Pool.Echo

  @doc "Makes it ready; its version, or a sentence that says why there is none."
  @spec load() :: {:ok, String.t()} | {:error, String.t()}
  def load do
    folder = Path.join(System.get_env("KANTOKU_DEPS_DIR") || "deps", "nimble_pool")

    cond do
      not File.dir?(Path.join(folder, "lib")) ->
        {:error, "NimblePool is left out: KANTOKU_DEPS_DIR (or deps) has no checkout named nimble_pool"}

      not compiled?(folder) ->
        {:error, "NimblePool is left out: its checkout does not compile"}

      true ->
        {:ok, version(folder)}
    end
  end

  # In its own folder, where it reads its README.
  defp compiled?(folder) do
    Code.ensure_loaded?(NimblePool) or
      File.cd!(folder, fn ->
        match?({:ok, _, _}, Kernel.ParallelCompiler.compile(Path.wildcard("lib/**/*.ex")))
      end)
  end

  defp version(folder) do
    with {:ok, text} <- File.read(Path.join(folder, "mix.exs")),
         [_, version] <- Regex.run(~r/@version "(.+)"/, text),
         do: version,
         else: (_ -> "of a version that it does not say")
  end

  @spec start(pos_integer) :: pid
  def start(size) do
    {:ok, pool} = NimblePool.start_link(worker: {__MODULE__, nil}, pool_size: size)
    pool
  end

  @spec stop(pid) :: :ok
  def stop(pool), do: NimblePool.stop(pool)

  @doc "Runs a function with a worker."
  @spec run(pid, (pid -> answer)) :: answer when answer: term
  def run(pool, fun) do
    NimblePool.checkout!(pool, :checkout, fn _from, worker -> {fun.(worker), worker} end, :infinity)
  end

  # What NimblePool calls ------------------------------------------------------------------------------------------------

  def init_worker(state) do
    {:ok, worker} = Echo.start_link(nil)
    {:ok, worker, state}
  end

  def handle_checkout(:checkout, _from, worker, state), do: {:ok, worker, worker, state}
end
