defmodule Kantoku.Backpressure do
  @moduledoc """
  How much a producer may send to a pool now: asked for by number, and told when there is more.

  A pool refuses what is too much. Who produces much does better not to send it: it asks for *credits*, each for one request, and
  sends as many as it is granted.

      {:ok, credits, 3} = Kantoku.Backpressure.request({MyApp.Agents, :writers}, 10, tenant: "import")
      {:ok, 3} = Kantoku.Backpressure.take(credits, 3)
      # ... sends three; of the other seven it hears when there is room, without asking again:
      receive do: ({:kantoku_pool, ref, {:credits, count}} when ref == credits.ref -> count)

  `stream/4` does all of it for an enumerable. The guide "Back-pressure" has a producer for GenStage and Broadway.

  ## What is counted

  There is *room* for as many requests as find a permit free, and as many more as the workers clear within `:queue_target` of a
  tenant's share of the queue: so what is sent for credits is not refused, and does not stand. Quotas are counted in; while the
  pool drains, is overloaded or has no worker, there is none.

  Credits that are held are room that others do not have, until they are taken to send a request, given back, not taken for `:ttl` ms,
  or their holder dies. They are no permits: who calls a pool without any is served as well, and who spends one may still be refused
  if the pool shrank meanwhile. Whoever wishes for credits gets them in turn, and no more at once than its part.

  ## Where it comes from

  `request/2` is that of Reactive Streams (`Subscription.request(n)`): the wish adds up, and what arrives never exceeds it. That the
  one who serves decides, and for how long, is RSocket's lease. What is not used here: windows that each receiver opens for itself
  (HTTP/2, AMQP's prefetch) bound one consumer and know nothing of a shared queue; limits that are found by probing latency (Envoy's
  gradient) need to send too much to find out, and a pool knows its own permits, queue and pace.

  ## Options

    * `:tenant`, `:cost` - as for a request of `Kantoku.Pool`: whose share and which quotas count, and what each request counts in
      them;
    * `:ttl` - ms for which what was granted is kept; default 5_000. Each grant renews it for all.

  A bad option raises `ArgumentError`. Errors are those of `Kantoku.Pool` where there is no such pool; `:not_held` for credits that were
  cancelled, or whose pool was closed; `:not_owner` for another process's.
  """

  alias Kantoku.Backpressure.Feed
  alias Kantoku.Engine.Pools
  alias Kantoku.{Error, Pool}
  alias Kantoku.Pool.{Notes, Request}

  @enforce_keys [:pool, :ref, :loan]
  defstruct @enforce_keys

  @typedoc """
  The credits of one process from one pool; all but `take/2` is for that process alone. Messages about them are `{:kantoku_pool, ref, {:credits, count}}`, and
  `{:kantoku_pool, ref, {:refused, :closed, 0}}` if the pool is closed while more are wished for.
  """
  @type t :: %__MODULE__{pool: Pool.t(), ref: reference, loan: Pools.loan()}

  @most 0xFFFFFFFF
  @ttl 5_000

  defguardp is_count(count) when is_integer(count) and count >= 0 and count <= @most

  @doc """
  How many requests a tenant may send now. One short look, however large the pool is.

      {:ok, 12} = Kantoku.Backpressure.available({MyApp.Agents, :writers}, tenant: "import")
  """
  @spec available(Pool.t(), keyword) :: {:ok, non_neg_integer} | {:error, Error.t()}
  def available({instance, pool}, opts \\ []) do
    {tenant, cost, _ttl} = terms!(opts)

    case Pools.pool_room(instance, pool, tenant, cost) do
      :unknown -> {:error, Notes.absent(instance, pool)}
      count -> {:ok, count}
    end
  end

  @doc "Credits of the calling process, with none wished for yet: for `request/2`."
  @spec subscribe(Pool.t(), keyword) :: {:ok, t} | {:error, Error.t()}
  def subscribe({instance, pool} = whose, opts \\ []) do
    {terms, ref} = {terms!(opts), make_ref()}

    case Pools.pool_lend(instance, pool, ref, terms) do
      {:ok, loan} -> {:ok, %__MODULE__{pool: whose, ref: ref, loan: loan}}
      :unknown -> {:error, Notes.absent(instance, pool)}
    end
  end

  @doc "As `subscribe/2` and `request/2`: how many were granted at once comes along."
  @spec request(Pool.t(), non_neg_integer, keyword) :: {:ok, t, non_neg_integer} | {:error, Error.t()}
  def request(pool, count, opts) when is_count(count) do
    with {:ok, credits} <- subscribe(pool, opts),
         {:ok, granted} <- request(credits, count),
         do: {:ok, credits, granted}
  end

  @doc """
  Wishes for so many more: how many of all that is wished for are granted at once. Those that are not come as messages, each of which
  says how many more there are. Taking them (`take/2`) does not wish for others.
  """
  @spec request(t, non_neg_integer) :: {:ok, non_neg_integer} | {:error, Error.t()}
  def request(%__MODULE__{} = credits, count) when is_count(count), do: deal(credits, :ask, count)

  @doc """
  Takes credits, to send as many requests: how many there were, at most `count`. Fewer than were granted only if they were not taken in
  time. To be done by whoever sends, which may be another process, and just before: what is taken and not sent yet is counted nowhere.
  """
  @spec take(t, non_neg_integer) :: {:ok, non_neg_integer} | {:error, Error.t()}
  def take(%__MODULE__{} = credits, count \\ 1) when is_count(count), do: deal(credits, :take, count)

  @doc "Gives back credits that are not needed: how many there were, at most `count`."
  @spec give_back(t, non_neg_integer) :: {:ok, non_neg_integer} | {:error, Error.t()}
  def give_back(%__MODULE__{} = credits, count) when is_count(count), do: deal(credits, :give_back, count)

  @doc """
  Gives back all that is held and wishes for nothing any more: no message comes after this, and those that came are taken out of the
  mailbox.
  """
  @spec cancel(t) :: :ok | {:error, Error.t()}
  def cancel(%__MODULE__{ref: ref} = credits) do
    with {:ok, _held} <- deal(credits, :close, 0), do: flush(ref)
  end

  defp flush(ref) do
    receive do
      {:kantoku_pool, ^ref, _told} -> flush(ref)
    after
      0 -> :ok
    end
  end

  defp deal(%{pool: {instance, pool} = whose, loan: loan}, dealing, count) do
    case Pools.pool_loan(instance, pool, loan, dealing, count) do
      done when is_integer(done) -> {:ok, done}
      :gone -> {:error, Error.new(:not_held, pool: whose, what: :credits)}
      {:error, :foreign} -> {:error, Error.new(:not_owner, pool: whose, what: :credits)}
      :unknown -> {:error, Notes.absent(instance, pool)}
    end
  end

  @doc """
  Calls a pool for each element, as many at once as it has room for: lazily, like `Task.async_stream/3`, and with the pool in place
  of a number.

      {MyApp.Agents, :writers}
      |> Kantoku.Backpressure.stream(texts, &{:write, &1}, tenant: "import")
      |> Enum.map(fn {:ok, written} -> written end)

  `fun` makes the request of an element, in a process of its own that is linked to the caller and makes the call. Each element gives
  one result, `{:ok, reply}` or `{:error, %Kantoku.Error{}}`. What the pool refuses as too much - where others send without asking -
  is sent again when there is room, as no worker has seen it. If the caller stops or dies, so do the calls.

  Options are those of `Kantoku.Pool.call/3` and `:ttl`, and

    * `:ordered` - results in the order of the elements; default `true`. `false`: as they come;
    * `:max_in_flight` - the most elements that are under way, results that wait for an earlier one included; default 1_000;
    * `:on_refusal` - `:retry` (default), or `:return`: what is refused as too much is a result.
  """
  @spec stream(Pool.t(), Enumerable.t(), (term -> request :: term), keyword) :: Enumerable.t()
  def stream(pool, enumerable, fun, opts \\ []) when is_function(fun, 1) do
    {own, opts} = Keyword.split(opts, [:ordered, :max_in_flight, :on_refusal])
    {ttl, call} = Keyword.split(opts, [:ttl])
    _ = Request.new!(call)
    terms = Keyword.take(call, [:tenant, :cost]) ++ ttl
    _ = terms!(terms)
    feed = Feed.new!(pool, fun, call, terms, own)
    Stream.resource(fn -> Feed.open(feed, enumerable) end, &Feed.next/1, &Feed.close/1)
  end

  defp terms!(opts) do
    is_list(opts) || refuse!("options", "a keyword list", opts)
    {ttl, request} = Keyword.pop(opts, :ttl, @ttl)
    (is_integer(ttl) and ttl in 1..@most) || refuse!("option :ttl", "ms", ttl)

    for {name, value} <- request,
        name not in [:tenant, :cost],
        do: refuse!("option #{inspect(name)}", "nothing, as there is no such option", value)

    %{tenant: tenant, cost: cost} = Request.new!(request)
    {tenant, cost, ttl}
  end

  defp refuse!(what, expected, given),
    do: raise(ArgumentError, "Kantoku.Backpressure, #{what}: expected #{expected}, got: #{inspect(given)}")
end
