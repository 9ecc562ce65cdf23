defmodule Kantoku.Agent.Snapshot do
  # The envelope of a snapshot: what is in it, and whether it can be believed. Knows no store and no process.
  @moduledoc false

  # "KTKU", format, checksum, module, body. The checksum is the CRC-32 of all but itself, and of the version; the module is a hash of its name,
  # as names would be most of a small snapshot, of which there is one for each agent. The body is an external term:
  #
  #   3: {vsn, agent, outbox};
  #   4: {vsn, fields, outbox}; the agent is a struct of the module, of which the fields are written alone.
  #
  # 1 and 2 were other forms, of before any release.
  @magic "KTKU"
  @any 3
  @struct 4

  defstruct [:module, :vsn, :agent, outbox: []]

  @type t :: %__MODULE__{module: module, vsn: term, agent: Kantoku.Agent.t(), outbox: Kantoku.Agent.Outbox.t()}

  @doc "As bytes, unless they are more than `most`."
  @spec encode(t, version :: Kantoku.Store.version(), most :: pos_integer) ::
          {:ok, binary} | {:error, {:too_large, bytes :: pos_integer, most :: pos_integer}}
  def encode(%{module: module} = snapshot, version, most) do
    {format, agent} = pack(module, snapshot.agent)
    body = :erlang.term_to_binary({snapshot.vsn, agent, snapshot.outbox}, minor_version: 2)
    mark = mark(module)
    bytes = <<@magic, format, checksum(format, version, mark, body)::32, mark::32, body::binary>>
    if byte_size(bytes) <= most, do: {:ok, bytes}, else: {:error, {:too_large, byte_size(bytes), most}}
  end

  defp pack(module, %{__struct__: module} = agent), do: {@struct, Map.delete(agent, :__struct__)}
  defp pack(_module, agent), do: {@any, agent}

  # The same in every VM.
  defp mark(module), do: :erlang.phash2(module, 0x1_0000_0000)

  defp checksum(format, {incarnation, revision}, mark, body),
    do: :erlang.crc32([<<format, incarnation::64, revision::64, mark::32>>, body])

  @doc "From the bytes that a store has of an agent of `module` as of `version`."
  @spec decode(binary, Kantoku.Store.version(), module) :: {:ok, t} | {:damaged, term}
  def decode(<<@magic, format, checksum::32, mark::32, body::binary>>, version, module)
      when format in [@any, @struct] do
    cond do
      checksum(format, version, mark, body) != checksum -> {:damaged, :checksum}
      mark != mark(module) -> {:damaged, {:other_module, named(mark)}}
      true -> body |> term() |> unpack(format, module)
    end
  end

  def decode(<<@magic, format, _rest::binary>>, _version, _module) when format not in [@any, @struct],
    do: {:damaged, {:unknown_format, format}}

  def decode(_bytes, _version, _module), do: {:damaged, :no_snapshot}

  # Known by name if it is loaded.
  defp named(mark),
    do: Enum.find_value(:code.all_loaded(), :unknown, fn {module, _} -> mark(module) == mark && module end)

  defp unpack({:ok, {vsn, agent, outbox}}, @any, module) when is_list(outbox),
    do: {:ok, %__MODULE__{module: module, vsn: vsn, agent: agent, outbox: outbox}}

  defp unpack({:ok, {vsn, fields, outbox}}, @struct, module) when is_map(fields) and is_list(outbox),
    do: {:ok, %__MODULE__{module: module, vsn: vsn, agent: Map.put(fields, :__struct__, module), outbox: outbox}}

  defp unpack(_undecodable, _format, _module), do: {:damaged, :undecodable}

  # Not `:safe`: the checksum says that these are bytes of ours, and in another VM, or before a module is loaded, `:safe` takes an atom or
  # a function that is not known yet for an attack, and a sound snapshot for damage.
  defp term(body) do
    {:ok, :erlang.binary_to_term(body)}
  rescue
    ArgumentError -> :error
  end
end
