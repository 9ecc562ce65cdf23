defmodule Demo.Walk do
  # Every file below a folder. Knows nothing of what is in them.
  @moduledoc false

  defstruct files: [], bytes: 0, links: 0, special: 0, closed: 0

  @typedoc "`links` are not followed, `special` are devices and sockets, `closed` are folders and files that cannot be looked at."
  @type t :: %__MODULE__{
          files: [binary],
          bytes: non_neg_integer,
          links: non_neg_integer,
          special: non_neg_integer,
          closed: non_neg_integer
        }

  @doc "All regular files below `dir` in a fixed order; folders of a name in `without` are passed over."
  @spec below(Path.t(), without :: [binary]) :: {:ok, t} | {:error, String.t()}
  def below(dir, without \\ []) do
    case :file.list_dir_all(dir) do
      {:ok, names} -> {:ok, names |> within(dir, %__MODULE__{}, without) |> in_order()}
      {:error, :enotdir} -> {:error, "#{dir} is no folder"}
      {:error, reason} -> {:error, "#{dir} cannot be read: #{:file.format_error(reason)}"}
    end
  end

  defp in_order(walk), do: %{walk | files: Enum.sort(walk.files)}

  # Names that are not valid in the system's encoding come as binaries, all others as character lists.
  defp within(names, dir, walk, without) do
    names
    |> Enum.map(&IO.chardata_to_string/1)
    |> Enum.reduce(walk, &(&1 |> in_dir(dir) |> look(&1, &2, without)))
  end

  defp in_dir(name, dir), do: dir <> "/" <> name

  defp look(path, name, walk, without) do
    case File.lstat(path) do
      {:ok, %{type: :regular, size: size}} -> %{walk | files: [path | walk.files], bytes: walk.bytes + size}
      {:ok, %{type: :directory}} -> if(name in without, do: walk, else: enter(path, walk, without))
      {:ok, %{type: :symlink}} -> %{walk | links: walk.links + 1}
      {:ok, _device} -> %{walk | special: walk.special + 1}
      {:error, _reason} -> %{walk | closed: walk.closed + 1}
    end
  end

  defp enter(dir, walk, without) do
    case :file.list_dir_all(dir) do
      {:ok, names} -> within(names, dir, walk, without)
      {:error, _reason} -> %{walk | closed: walk.closed + 1}
    end
  end
end
