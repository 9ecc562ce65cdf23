defmodule Kantoku.NamedMidway do
  @moduledoc """
  Registers keys in a VM without a name, gives it one, and looks for them. For a VM of its own.
  """

  @doc "Which kinds of key (by index) are not found any more by an equal one made anew after the naming."
  @spec lost_keys(Kantoku.Engine.kind()) :: [non_neg_integer]
  def lost_keys(engine) do
    {:ok, _} = Application.ensure_all_started(:kantoku)
    {:ok, _} = Kantoku.Registry.start_link(keys: :unique, name: :before, engine: engine)
    {pid, ref} = {self(), make_ref()}
    port = hd(Port.list())
    for make <- makers(), do: {:ok, _} = Kantoku.Registry.register(:before, make.(pid, ref, port), 1)
    :nonode@nohost = node()
    {:ok, _} = :net_kernel.start([:"kantoku_#{System.pid()}@127.0.0.1", :longnames])
    true = Node.alive?()

    for {make, n} <- Enum.with_index(makers()), key = make.(pid, ref, port), not found?(key), do: n
  end

  defp found?(key) do
    Kantoku.Registry.whereis_name({:before, key}) == self() and
      Kantoku.Registry.register(:before, key, 2) == {:error, {:already_registered, self()}} and
      Kantoku.Registry.unregister(:before, key) == :ok and
      Kantoku.Registry.whereis_name({:before, key}) == :undefined
  end

  defp makers do
    [
      fn pid, _ref, _port -> pid end,
      fn _pid, ref, _port -> ref end,
      fn _pid, _ref, port -> port end,
      fn pid, ref, port -> {pid, ref, port} end,
      fn pid, ref, port -> [pid, [ref | port]] end,
      fn pid, ref, _port -> %{pid => ref, ref => [pid]} end,
      fn pid, ref, _port -> {:nested, %{list: [%{pid: pid}, {ref}]}, "binary"} end,
      fn pid, ref, _port -> fn -> {pid, ref} end end
    ]
  end
end
