defmodule Kantoku.Exporters.Secret do
  # What must not be seen, tokens and headers: kept in functions, which show nothing of it. A function may also be the user's, who has it in
  # a vault; of that nothing is expected, not even that it returns. Knows no option.
  @moduledoc false

  @typedoc "What must not be seen."
  @type t(type) :: (() -> type)
  @type t :: t(term)

  # For a function to return, in ms.
  @patience 2_000

  @doc "A value in a function, and a function as it is."
  @spec hide(term) :: t
  def hide(secret) when is_function(secret, 0), do: secret
  def hide(value), do: fn -> value end

  @doc "The value that was hidden, so that it can be checked where it enters; `:none` of a function of somebody else."
  @spec given(t) :: {:ok, term} | :none
  def given(secret),
    do: if(:erlang.fun_info(secret, :module) == {:module, __MODULE__}, do: {:ok, secret.()}, else: :none)

  @doc "What a secret is, or why it is not told. Bounded; a failure's own words may have the secret in them, and go no further."
  @spec reveal(t) :: {:ok, term} | {:error, why :: String.t()}
  def reveal(secret) do
    tag = make_ref()
    asked = self()
    # Linked, so that it goes with who asks.
    {pid, monitor} = Process.spawn(fn -> send(asked, {tag, tell(secret)}) end, [:link, :monitor])

    receive do
      {^tag, told} ->
        forget(pid, monitor)
        told

      {:DOWN, ^monitor, :process, ^pid, _reason} ->
        forget(pid, monitor)
        {:error, "was killed"}
    after
      @patience ->
        forget(pid, monitor)
        Process.exit(pid, :kill)
        {:error, "did not return within #{@patience} ms"}
    end
  end

  defp tell(secret) do
    {:ok, secret.()}
  rescue
    _error -> {:error, "failed"}
  catch
    _kind, _reason -> {:error, "failed"}
  end

  # Who asks may trap exits, and must find no message of it later.
  defp forget(pid, monitor) do
    Process.demonitor(monitor, [:flush])
    Process.unlink(pid)

    receive do
      {:EXIT, ^pid, _reason} -> :ok
    after
      0 -> :ok
    end
  end
end
