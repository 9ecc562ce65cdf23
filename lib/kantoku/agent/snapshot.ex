defmodule Kantoku.Agent.Snapshot do
  # The envelope of a snapshot: what is in it, and whether it can be believed. Knows no store and no process.
  @moduledoc false

  # "KTKU", format, checksum, body. The body is an external term:
  #
  #   1: {module, vsn, version, agent, outbox}; the checksum is its CRC-32;
  #   2: {module, vsn, fields, outbox}; the agent is a struct of the module, of which the fields are written alone; the CRC-32 is that of
  #      format, version and body.
  #
  # Names and versions are most of a small snapshot, of which there is one for each agent: so what is known is not written again.
  @magic "KTKU"
  @any 1
  @struct 2

  defstruct [:module, :vsn, :agent, outbox: []]

  @type t :: %__MODULE__{module: module, vsn: term, agent: Kantoku.Agent.t(), outbox: Kantoku.Agent.Outbox.t()}

  @doc "As bytes, unless they are more than `most`."
  @spec encode(t, version :: Kantoku.Store.version(), most :: pos_integer) ::
          {:ok, binary} | {:error, {:too_large, bytes :: pos_integer, most :: pos_integer}}
  def encode(snapshot, version, most) do
    {format, fields} = pack(snapshot, version)
    body = :erlang.term_to_binary(fields, minor_version: 2)
    bytes = <<@magic, format, checksum(format, version, body)::32, body::binary>>
    if byte_size(bytes) <= most, do: {:ok, bytes}, else: {:error, {:too_large, byte_size(bytes), most}}
  end

  defp pack(%{module: module, agent: %{__struct__: module} = agent} = snapshot, _version),
    do: {@struct, {module, snapshot.vsn, Map.delete(agent, :__struct__), snapshot.outbox}}

  defp pack(snapshot, version),
    do: {@any, {snapshot.module, snapshot.vsn, version, snapshot.agent, snapshot.outbox}}

  defp checksum(@any, _version, body), do: :erlang.crc32(body)

  defp checksum(@struct, {incarnation, revision}, body),
    do: :erlang.crc32([<<@struct, incarnation::64, revision::64>>, body])

  @doc "From the bytes that a store has of an agent of `module` as of `version`."
  @spec decode(binary, Kantoku.Store.version(), module) :: {:ok, t} | {:damaged, term}
  def decode(<<@magic, format, checksum::32, body::binary>>, version, module) when format in [@any, @struct] do
    if checksum(format, version, body) == checksum,
      do: body |> term() |> unpack(format, version, module),
      else: {:damaged, :checksum}
  end

  def decode(<<@magic, format, _rest::binary>>, _version, _module), do: {:damaged, {:unknown_format, format}}
  def decode(_bytes, _version, _module), do: {:damaged, :no_snapshot}

  defp unpack({:ok, {module, vsn, version, agent, outbox}}, @any, version, module) when is_list(outbox),
    do: {:ok, %__MODULE__{module: module, vsn: vsn, agent: agent, outbox: outbox}}

  defp unpack({:ok, {module, vsn, fields, outbox}}, @struct, _version, module) when is_map(fields) and is_list(outbox),
    do: {:ok, %__MODULE__{module: module, vsn: vsn, agent: Map.put(fields, :__struct__, module), outbox: outbox}}

  defp unpack({:ok, {module, _, other, _, _}}, @any, _version, module), do: {:damaged, {:other_version, other}}
  defp unpack({:ok, {other, _, _, _, _}}, @any, _version, _module), do: {:damaged, {:other_module, other}}

  defp unpack({:ok, {other, _, _, _}}, @struct, _version, module) when other != module,
    do: {:damaged, {:other_module, other}}

  defp unpack(_undecodable, _format, _version, _module), do: {:damaged, :undecodable}

  # Not `:safe`: the checksum says that these are bytes of ours, and in another VM, or before a module is loaded, `:safe` takes an atom or
  # a function that is not known yet for an attack, and a sound snapshot for damage.
  defp term(body) do
    {:ok, :erlang.binary_to_term(body)}
  rescue
    ArgumentError -> :error
  end
end
