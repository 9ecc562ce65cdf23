defmodule Bench.Machine do
  @moduledoc false
  # What the figures were taken on. Knows nothing of what was measured.

  @doc "The header of a report, in lines of `{label, text}`."
  @spec describe(Bench.Options.t()) :: [{String.t(), String.t()}]
  def describe(options) do
    [
      {"machine", "#{cpu_model()}, #{:erlang.system_info(:logical_processors)} cores, #{ram()} RAM"},
      {"system", system()},
      {"commit", commit()},
      {"software", "Elixir #{System.version()}, OTP #{otp()}, #{:erlang.system_info(:emu_flavor)}, env #{Mix.env()}"},
      {"schedulers",
       "#{System.schedulers_online()} online, #{:erlang.system_info(:dirty_cpu_schedulers_online)} dirty"},
      {"engine", "#{options.engine}#{if options.control, do: " (control run: the peer on both sides)"}"},
      {"load before", load_average()},
      {"command", options.command},
      {"date", DateTime.utc_now() |> DateTime.truncate(:second) |> DateTime.to_iso8601()}
    ]
  end

  @doc "Resident memory of this VM in bytes, or nil where the system does not say."
  @spec resident_bytes() :: non_neg_integer | nil
  def resident_bytes, do: kilobytes("/proc/self/status", ~r/^VmRSS:\s+(\d+) kB/m)

  defp cpu_model do
    with {:ok, text} <- File.read("/proc/cpuinfo"),
         [_, model] <- Regex.run(~r/^model name\s*:\s*(.+)$/m, text) do
      String.trim(model)
    else
      _ -> to_string(:erlang.system_info(:system_architecture))
    end
  end

  defp ram do
    case kilobytes("/proc/meminfo", ~r/^MemTotal:\s+(\d+) kB/m) do
      nil -> "unknown"
      bytes -> "#{Float.round(bytes / 1_073_741_824, 1)} GiB"
    end
  end

  defp kilobytes(path, regex) do
    with {:ok, text} <- File.read(path), [_, digits] <- Regex.run(regex, text) do
      String.to_integer(digits) * 1024
    else
      _ -> nil
    end
  end

  defp system do
    {family, name} = :os.type()
    version = with {a, b, c} <- :os.version(), do: "#{a}.#{b}.#{c}"
    "#{family}/#{name} #{version}, #{:erlang.system_info(:system_architecture)}"
  end

  defp otp do
    release = :erlang.system_info(:otp_release)
    path = Path.join([:code.root_dir(), "releases", "#{release}", "OTP_VERSION"])

    case File.read(path) do
      {:ok, version} -> String.trim(version)
      {:error, _} -> to_string(release)
    end
  end

  defp commit do
    case git(["rev-parse", "--short=12", "HEAD"]) do
      {:ok, hash} -> hash <> changed(git(["status", "--porcelain", "--", ".", ":!bench/results"]))
      :error -> "unknown"
    end
  end

  defp changed({:ok, ""}), do: ""
  defp changed(_), do: " with uncommitted changes"

  defp git(arguments) do
    case System.cmd("git", arguments, stderr_to_stdout: true) do
      {text, 0} -> {:ok, String.trim(text)}
      _ -> :error
    end
  rescue
    ErlangError -> :error
  end

  defp load_average do
    case File.read("/proc/loadavg") do
      {:ok, text} -> text |> String.split() |> Enum.take(3) |> Enum.join(" ")
      {:error, _} -> "unknown"
    end
  end
end
