defmodule Kantoku.Agent.Snapshot do
  # The envelope of a snapshot: what is in it, and whether it can be believed. Knows no store and no process.
  @moduledoc false

  # "KTKU", format, CRC-32 of the rest, and the rest: {module, vsn, version, agent, outbox} as external term.
  @magic "KTKU"
  @format 1

  defstruct [:module, :vsn, :agent, outbox: []]

  @type t :: %__MODULE__{module: module, vsn: term, agent: Kantoku.Agent.t(), outbox: Kantoku.Agent.Outbox.t()}

  @doc "As bytes, unless they are more than `most`."
  @spec encode(t, version :: Kantoku.Store.version(), most :: pos_integer) ::
          {:ok, binary} | {:error, {:too_large, bytes :: pos_integer, most :: pos_integer}}
  def encode(snapshot, version, most) do
    fields = {snapshot.module, snapshot.vsn, version, snapshot.agent, snapshot.outbox}
    body = :erlang.term_to_binary(fields, minor_version: 2)
    bytes = <<@magic, @format, :erlang.crc32(body)::32, body::binary>>
    if byte_size(bytes) <= most, do: {:ok, bytes}, else: {:error, {:too_large, byte_size(bytes), most}}
  end

  @doc "From the bytes that a store has of an agent of `module` as of `version`."
  @spec decode(binary, Kantoku.Store.version(), module) :: {:ok, t} | {:damaged, term}
  def decode(<<@magic, @format, checksum::32, body::binary>>, version, module) do
    if :erlang.crc32(body) == checksum, do: body |> term() |> check(version, module), else: {:damaged, :checksum}
  end

  def decode(<<@magic, format, _rest::binary>>, _version, _module), do: {:damaged, {:unknown_format, format}}
  def decode(_bytes, _version, _module), do: {:damaged, :no_snapshot}

  defp check({:ok, {module, vsn, version, agent, outbox}}, version, module) when is_list(outbox) do
    {:ok, %__MODULE__{module: module, vsn: vsn, agent: agent, outbox: outbox}}
  end

  defp check({:ok, {module, _, other, _, _}}, _version, module), do: {:damaged, {:other_version, other}}
  defp check({:ok, {other, _, _, _, _}}, _version, _module), do: {:damaged, {:other_module, other}}
  defp check(_undecodable, _version, _module), do: {:damaged, :undecodable}

  # Not `:safe`: the checksum says that these are bytes of ours, and in another VM, or before a module is loaded, `:safe` takes an atom or
  # a function that is not known yet for an attack, and a sound snapshot for damage.
  defp term(body) do
    {:ok, :erlang.binary_to_term(body)}
  rescue
    ArgumentError -> :error
  end
end
