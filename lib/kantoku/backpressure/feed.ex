defmodule Kantoku.Backpressure.Feed do
  # A stream of calls through a pool, in the process that reads it. It draws an element when there is a place for it under way, asks for
  # one credit at a time, and has each call made by a process of its own, so that a slow reader keeps no worker waiting. Knows
  # no engine.
  #
  #   F1. An element that was drawn is in one place: at hand, called, put off, or a result.
  #   F2. Each call has a credit, which is taken as it goes out; while one is wished for, no other is.
  @moduledoc false

  alias Kantoku.{Backpressure, Error, Pool}

  # What the pool would serve another time. No worker has seen it.
  @too_much [:queue_full, :overloaded, :quota, :restarting]

  # An engine that was lost tells nobody: after so many ms without a word it is asked.
  @patience 1_000

  @enforce_keys [:pool, :fun, :call, :terms, :ordered, :most, :again]
  defstruct @enforce_keys ++
              [
                :ref,
                :upstream,
                credits: nil,
                wishes: false,
                # Numbered elements: that at hand, those put off by refusals and their timers, and those that are to be sent again.
                at_hand: nil,
                put_off: %{},
                due: [],
                # By the reference of the call: its element, its process, its monitor; and by the monitor, that reference.
                calls: %{},
                monitors: %{},
                results: %{},
                drawn: 0,
                given: 0
              ]

  @type t :: %__MODULE__{}

  @doc "Checks the options of a stream."
  @spec new!(Pool.t(), (term -> term), keyword, keyword, keyword) :: t
  def new!(pool, fun, call, terms, own) do
    ordered = Keyword.get(own, :ordered, true)
    is_boolean(ordered) || refuse!(:ordered, "a boolean", ordered)
    most = Keyword.get(own, :max_in_flight, 1_000)
    (is_integer(most) and most > 0) || refuse!(:max_in_flight, "an integer above 0", most)
    refused = Keyword.get(own, :on_refusal, :retry)
    refused in [:retry, :return] || refuse!(:on_refusal, ":retry or :return", refused)

    %__MODULE__{
      pool: pool,
      fun: fun,
      call: call,
      terms: terms,
      ordered: ordered,
      most: most,
      again: refused == :retry
    }
  end

  defp refuse!(option, expected, given) do
    raise ArgumentError,
          "Kantoku.Backpressure, option #{inspect(option)}: expected #{expected}, got: #{inspect(given)}"
  end

  @doc "Begins to read."
  @spec open(t, Enumerable.t()) :: t
  def open(feed, enumerable) do
    upstream = &Enumerable.reduce(enumerable, &1, fn element, _last -> {:suspend, element} end)
    %{feed | ref: make_ref(), upstream: upstream}
  end

  @doc "The next results, or the end."
  @spec next(t) :: {[term], t} | {:halt, t}
  def next(feed) do
    case give(feed) do
      {[], feed} -> feed |> fill() |> go_on()
      {results, feed} -> {results, feed}
    end
  end

  defp go_on(feed) do
    cond do
      results?(feed) -> next(feed)
      idle?(feed) -> {:halt, feed}
      true -> feed |> await() |> next()
    end
  end

  defp results?(%{ordered: true} = feed), do: is_map_key(feed.results, feed.given)
  defp results?(feed), do: feed.results != %{}

  defp idle?(feed), do: feed.at_hand == nil and feed.calls == %{} and feed.put_off == %{} and feed.due == []

  # Results ----------------------------------------------------------------------------------------------------------------

  defp give(%{ordered: false, results: results} = feed), do: {Map.values(results), %{feed | results: %{}}}
  defp give(feed), do: give(feed, [])

  defp give(%{results: results, given: number} = feed, given) do
    case Map.pop(results, number, :none) do
      {:none, _results} -> {Enum.reverse(given), feed}
      {result, results} -> give(%{feed | results: results, given: number + 1}, [result | given])
    end
  end

  defp result(feed, number, result), do: %{feed | results: Map.put(feed.results, number, result)}

  # Sending ----------------------------------------------------------------------------------------------------------------

  # As many as there are credits for.
  defp fill(feed) do
    case draw(feed) do
      %{at_hand: nil} = feed -> feed
      %{wishes: true} = feed -> feed
      feed -> feed |> credit() |> fill_on()
    end
  end

  defp fill_on({:again, feed}), do: fill(feed)
  defp fill_on({:wait, feed}), do: feed

  defp draw(%{at_hand: nil, due: [first | rest]} = feed), do: %{feed | at_hand: first, due: rest}

  defp draw(%{at_hand: nil, upstream: upstream} = feed) when upstream != nil do
    if under_way(feed) < feed.most, do: drawn(upstream.({:cont, nil}), feed), else: feed
  end

  defp draw(feed), do: feed

  defp under_way(feed), do: map_size(feed.calls) + map_size(feed.put_off) + map_size(feed.results)

  defp drawn({:suspended, element, upstream}, %{drawn: number} = feed),
    do: %{feed | at_hand: {number, element}, upstream: upstream, drawn: number + 1}

  defp drawn({_done, _last}, feed), do: %{feed | upstream: nil}

  defp credit(%{credits: nil} = feed) do
    case Backpressure.subscribe(feed.pool, feed.terms) do
      {:ok, credits} -> credit(%{feed | credits: credits})
      {:error, error} -> {:again, missed(%{feed | at_hand: nil}, feed.at_hand, error)}
    end
  end

  defp credit(%{credits: credits} = feed) do
    case Backpressure.request(credits, 1) do
      {:ok, 1} -> {:again, call(feed)}
      {:ok, 0} -> {:wait, %{feed | wishes: true}}
      {:error, _gone} -> {:again, %{feed | credits: nil}}
    end
  end

  # The credit is taken when the request is made, and goes out at once: it is counted all the time. A reader that traps exits hears
  # of no call that ended as it should.
  defp call(%{at_hand: {_number, element} = numbered, pool: pool, fun: fun, call: opts, credits: credits} = feed) do
    {reader, ref, callers} = {self(), make_ref(), [self() | Process.get(:"$callers", [])]}

    {pid, monitor} =
      :erlang.spawn_opt(
        fn ->
          Process.put(:"$callers", callers)
          request = fun.(element)
          _ = Backpressure.take(credits)
          send(reader, {ref, Pool.call(pool, request, opts)})
          Process.unlink(reader)
        end,
        [:link, :monitor]
      )

    calls = Map.put(feed.calls, ref, {numbered, pid, monitor})
    %{feed | at_hand: nil, calls: calls, monitors: Map.put(feed.monitors, monitor, ref)}
  end

  # Hearing ----------------------------------------------------------------------------------------------------------------

  defp await(%{ref: own, calls: calls, monitors: monitors} = feed) do
    credits = feed.credits && feed.credits.ref

    receive do
      {ref, result} when is_map_key(calls, ref) -> answered(feed, ref, result)
      {:kantoku_pool, ^credits, told} -> told(feed, told)
      {^own, number} -> put_off_no_longer(feed, number)
      {:DOWN, monitor, :process, _pid, reason} when is_map_key(monitors, monitor) -> down(feed, monitor, reason)
    after
      patience(feed) -> ask(feed)
    end
  end

  defp patience(%{wishes: true}), do: @patience
  defp patience(_feed), do: :infinity

  defp answered(feed, ref, result) do
    {{number, _element} = numbered, feed} = ended(feed, ref)

    case result do
      {:ok, _reply} -> result(feed, number, result)
      {:error, error} -> missed(feed, numbered, error)
    end
  end

  # What is too much now comes again.
  defp missed(%{again: true} = feed, {number, _element} = numbered, %Error{reason: reason} = error)
       when reason in @too_much do
    timer = Process.send_after(self(), {feed.ref, number}, error.details[:retry_in] || 1)
    %{feed | put_off: Map.put(feed.put_off, number, {numbered, timer})}
  end

  defp missed(feed, {number, _element}, error), do: result(feed, number, {:error, error})

  defp put_off_no_longer(feed, number) do
    {{numbered, _timer}, put_off} = Map.pop!(feed.put_off, number)
    %{feed | put_off: put_off, due: feed.due ++ [numbered]}
  end

  defp told(feed, {:credits, _one}), do: call(%{feed | wishes: false})
  defp told(feed, {:refused, _closed, _retry_in}), do: %{feed | wishes: false, credits: nil}

  defp ask(feed) do
    case Backpressure.request(feed.credits, 0) do
      {:ok, 0} -> feed
      {:ok, _one} -> call(%{feed | wishes: false})
      {:error, _gone} -> %{feed | wishes: false, credits: nil}
    end
  end

  # Only who traps exits comes here, as all others have died of it; or what exited as `:normal`.
  defp down(feed, monitor, reason) do
    {{number, _element}, feed} = ended(feed, Map.fetch!(feed.monitors, monitor))
    result(feed, number, {:exit, reason})
  end

  defp ended(feed, ref) do
    {{numbered, _pid, monitor}, calls} = Map.pop!(feed.calls, ref)
    Process.demonitor(monitor, [:flush])
    {numbered, %{feed | calls: calls, monitors: Map.delete(feed.monitors, monitor)}}
  end

  # End --------------------------------------------------------------------------------------------------------------------

  @doc "Ends all that is under way."
  @spec close(t) :: :ok
  def close(feed) do
    for {ref, {_numbered, pid, monitor}} <- feed.calls, do: cut_off(ref, pid, monitor)
    for {number, {_numbered, timer}} <- feed.put_off, do: silence(feed.ref, number, timer)
    _ = feed.credits && Backpressure.cancel(feed.credits)
    _ = feed.upstream && feed.upstream.({:halt, nil})
    :ok
  end

  defp cut_off(ref, pid, monitor) do
    Process.unlink(pid)
    Process.exit(pid, :kill)
    Process.demonitor(monitor, [:flush])

    receive do
      {^ref, _result} -> :ok
    after
      0 -> :ok
    end
  end

  defp silence(own, number, timer) do
    Process.cancel_timer(timer)

    receive do
      {^own, ^number} -> :ok
    after
      0 -> :ok
    end
  end
end
