defmodule Kantoku.Migration.Mode do
  # What a mode is, and on which side of it a key falls. Pure; knows no setting.
  #
  # M1  A key's point is a function of the subject and the key alone: the same in every process, VM and release of OTP
  #     (`:erlang.phash2/2` promises that), and the same for all features.
  # M2  A key is on the new side of a canary exactly if its point is below the limit; so a higher percentage only adds keys.
  @moduledoc false

  alias Kantoku.Migration.Tally

  @points 10_000

  @type t :: :off | :shadow | {:canary, number} | :enforce
  @type side :: :old | :new

  @typedoc "A mode as it is read on the way of a request."
  @type gate :: :off | :shadow | {:canary, limit :: 0..10_000, Tally.t()} | :enforce

  @expected ":off, :shadow, {:canary, percent} with a percent from 0 to 100, or :enforce"

  @doc "The mode, or `ArgumentError` that begins with `where`."
  @spec check!(term, String.t()) :: t
  def check!(mode, _where) when mode in [:off, :shadow, :enforce], do: mode

  def check!({:canary, percent}, _where) when is_number(percent) and percent >= 0 and percent <= 100,
    do: {:canary, percent}

  def check!(other, where), do: raise(ArgumentError, "#{where}: expected #{@expected}, got: #{inspect(other)}")

  @doc "Where a key lies, from 0 to 9,999."
  @spec point(term, term) :: 0..9_999
  def point(subject, key), do: :erlang.phash2({subject, key}, @points)

  @doc "The points below which a percentage lies."
  @spec limit(number) :: 0..10_000
  def limit(percent), do: round(percent * div(@points, 100))

  @spec side(gate, term, term) :: side
  def side({:canary, limit, _tally}, subject, key), do: if(point(subject, key) < limit, do: :new, else: :old)
  def side(:enforce, _subject, _key), do: :new
  def side(_off_or_shadow, _subject, _key), do: :old

  @spec other(side) :: side
  def other(:old), do: :new
  def other(:new), do: :old

  @doc "The mode as text for people."
  @spec text(t) :: String.t()
  def text({:canary, percent}), do: "canary #{percent} %"
  def text(mode), do: Atom.to_string(mode)
end
