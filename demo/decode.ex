defmodule Demo.Decode do
  # Bytes to parts of text. Pure but for `file/1`, which reads. Knows nothing of agents.
  @moduledoc false

  @most 16 * 1024 * 1024
  @part 64 * 1024
  @probe 8_000

  @typedoc "Why a file gives no text."
  @type reason :: :binary | :unreadable | :damaged | :too_large

  @doc "Reads a file and decodes it."
  @spec file(Path.t()) :: {:ok, [binary]} | {:skip, reason}
  def file(path) do
    case bytes(path) do
      {:ok, bytes} -> parts(bytes)
      :eof -> {:ok, []}
      {:error, _reason} -> {:skip, :unreadable}
    end
  end

  # One more than the most shows that there is more.
  defp bytes(path) do
    with {:ok, device} <- :file.open(path, [:read, :raw, :binary]) do
      answer = :file.read(device, @most + 1)
      :ok = :file.close(device)
      answer
    end
  end

  @doc """
  The text of a file's bytes, unpacked if need be, in UTF-8, in parts of at most 64 KiB that end between words where they can.

      iex> Demo.Decode.parts("a word")
      {:ok, ["a word"]}
      iex> Demo.Decode.parts(:zlib.gzip("a word"))
      {:ok, ["a word"]}
      iex> Demo.Decode.parts(<<0, 1, 2>>)
      {:skip, :binary}
  """
  @spec parts(binary) :: {:ok, [binary]} | {:skip, reason}
  def parts(bytes) when byte_size(bytes) > @most, do: {:skip, :too_large}

  def parts(bytes) do
    with {:ok, bytes} <- unpacked(bytes),
         :ok <- texture(bytes) do
      {:ok, bytes |> utf8() |> split([])}
    end
  end

  defp unpacked(<<0x1F, 0x8B, _rest::binary>> = packed) do
    z = :zlib.open()

    try do
      # 31: a gzip header is expected; :reset: files may be several, one after the other.
      :ok = :zlib.inflateInit(z, 31, :reset)
      inflated(:zlib.safeInflate(z, packed), z, [], 0)
    rescue
      ErlangError -> {:skip, :damaged}
    after
      :zlib.close(z)
    end
  end

  defp unpacked(bytes), do: {:ok, bytes}

  defp inflated({more, output}, z, done, size) do
    size = size + IO.iodata_length(output)
    done = [done | output]

    cond do
      size > @most -> {:skip, :too_large}
      more == :continue -> inflated(:zlib.safeInflate(z, []), z, done, size)
      true -> ended(z, done)
    end
  end

  # Raises if the stream was cut short.
  defp ended(z, done) do
    :ok = :zlib.inflateEnd(z)
    {:ok, IO.iodata_to_binary(done)}
  end

  # As git tells them apart.
  defp texture(bytes) do
    probe = binary_part(bytes, 0, min(byte_size(bytes), @probe))
    if :binary.match(probe, <<0>>) == :nomatch, do: :ok, else: {:skip, :binary}
  end

  defp utf8(bytes), do: if(String.valid?(bytes), do: bytes, else: :unicode.characters_to_binary(bytes, :latin1))

  defp split("", parts), do: Enum.reverse(parts)
  defp split(text, parts) when byte_size(text) <= @part, do: Enum.reverse([text | parts])

  defp split(text, parts) do
    size = cut(text, @part)
    <<part::binary-size(size), rest::binary>> = text
    split(rest, [part | parts])
  end

  defp cut(_text, 0), do: @part
  defp cut(text, at), do: if(:binary.at(text, at - 1) in [?\s, ?\n, ?\t, ?\r], do: at, else: cut(text, at - 1))
end
