defmodule Kantoku.Lives do
  # Instances that come and go, and what they leave. Runs in another VM.
  @moduledoc false

  alias Kantoku.Native

  def come_and_go(warm_up, count) do
    Enum.each(1..warm_up, &live_and_close/1)
    {before, rss_before} = {native_bytes(), rss()}
    Enum.each(1..count, &live_and_close/1)
    {before, native_bytes(), rss_before, rss()}
  end

  defp live_and_close(n) do
    instance = :"instance_#{rem(n, 50)}"
    open(instance)

    for key <- 1..20,
        do: {_, _} = Native.register(instance, {:key, key}, %{value: key, text: String.duplicate("x", key)})

    {:ok, 1, handle} = Native.describe(instance, {:key, 1}, self(), 0, %{tags: ["gpu"]}, [{:tag, "gpu"}])
    true = Native.set_load(instance, handle, n)
    {:ok, _, [_]} = Native.watch(instance, {[{:tag, "gpu"}], [], [], :none, :infinity}, self())
    :ok = Native.close(instance)
  end

  # Closed instances are emptied in the background, one after another: a later one that was emptied says the earlier were.
  defp native_bytes do
    bytes = Native.stats().bytes
    Process.sleep(50)
    if Native.stats().bytes == bytes, do: bytes, else: native_bytes()
  end

  defp rss do
    :erlang.garbage_collect()
    [_, resident | _] = "/proc/self/statm" |> File.read!() |> String.split()
    String.to_integer(resident) * 4096
  end

  def serves? do
    {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: :fallback)
    {:ok, _} = Kantoku.Registry.register(:fallback, :key, :value)
    Kantoku.Registry.lookup(:fallback, :key) == [{self(), :value}]
  end

  defp open(instance) do
    :ok = Native.open(instance, :unique, 1, [])
    :ok = Native.seat(instance, 0, self())
  end
end
