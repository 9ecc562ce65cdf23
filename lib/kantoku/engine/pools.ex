defmodule Kantoku.Engine.Pools do
  @moduledoc """
  The facts of an instance's pools: who is free, who waits, who is next, and what is too much.

  A behaviour beside `Kantoku.Engine`, kept by the same engines and chosen in the same way: both answer every call here alike.
  Each function answers `:unknown` where the instance or the pool is not kept, and raises `ArgumentError` for arguments of
  another shape than its types say. Below this boundary a pool knows workers, tickets and permits; it starts and stops no
  process. Who does is its *foreman*, a process that hears what it has to know by messages.

  ## Permits and tickets

  Each worker that takes work has `max_ongoing` permits. What was admitted is a *ticket*: waiting, served (a call), held (a
  check-out) or abandoned (nobody waits for the answer, but the worker is at it). The latter three use one permit of one worker.
  Permits are never doubled and never lost, whatever happens in whatever order.

    * A caller dies: what it waited for vanishes; what workers have of it is abandoned. A cast is nobody's: its caller's death
      changes nothing.
    * A worker dies: its tickets end, and callers of its calls hear `:down`. Nothing is given to a process that is dead at that
      moment, and nobody's turn is spent on a dead caller.
    * What is abandoned uses its permit until `c:pool_answered/3` or its worker's death. For who asked it is gone.

  ## Who is served

  A request that comes is refused if the pool drains, then if it is over a quota (or all is, as `over_quota` says of one that is counted
  elsewhere); else it gets a free permit, or waits, or there
  is no room. Who may wait 0 ms takes no room: it is refused with `:queue_full`. While a permit is free nobody waits, so nobody is passed.

  Where `max_queue` wait, the tenant with the longest queue for its weight makes room, a newcomer counted in: its newest ticket of the
  lowest priority is refused with `:queue_full`, which is the newcomer itself where no other tenant has more. A tenant's only ticket
  never goes for another's. This is longest queue drop (McKenney, "Stochastic Fairness Queueing", INFOCOM 1990): whoever has less
  than its share of the queue gets in, whatever the others ask for. What quotas took is not given back.

  Tenants take turns: deficit round-robin with surplus, in the order in which they began to wait. At a visit a tenant that has no
  credit gets its weight (1, unless `weights` says otherwise); with credit it is served and pays the cost, for as long as it has
  credit; without it the next is visited. Who has none waiting any more loses credit and place. Within a tenant the highest
  priority is next, and the oldest of that; each eighth of a tenant's tickets is the oldest of all.

  Who is late is never served: who has waited longer than its `wait` (`:deadline`), and under overload who has waited longer
  than twice `queue_target` (`:overloaded`). At a turn up to eight of the tenant's oldest are refused for that, and who would be
  next as long as it is late; a tick refuses all. Under overload the newest is next in place of the oldest.

  Overload is the variant of CoDel in folly (Maurer, "Fail at Scale", ACM Queue 2015): an interval of `queue_interval` is overloaded if
  the least wait of those who were given a worker in the one before was above `queue_target`. Who is served at once waited 0. If nobody
  was given a worker, what counts is how long the oldest has waited when the interval ends, and if nobody waits there is no
  overload. The first interval begins when the pool is opened; the end of one is seen by a tick, or at a turn.

  ## Quotas

  Token buckets by the generic cell rate algorithm: `burst` at once, and `per_minute` again in a minute. `:requests` counts 1,
  `:tokens` the cost. Whoever is admitted, served or queued, is charged under every quota that it is under (`:pool`, `:each` for each
  tenant alone, its own), all of which have to let it pass; nothing is given back to who cancels. What costs more than the burst
  passes when the bucket is full, and leaves it in debt. A quota that stays the same when a pool is opened again stays charged.

  ## When to come again

  `:quota`: exactly when it would pass; for `over_quota`, `queue_interval`. `:queue_full`: after as many mean holds as the permits of all workers need for the queue, or
  `queue_interval` where there are no workers. `:overloaded`: the same, and at least as long as it has waited. In ms, rounded up, 1 at
  least.

  ## Credits

  Whoever sends much asks before it does. The *room* of a tenant is how many requests it may send now without being refused or making
  others wait: the permits that are free, and as many more as fit its share of the queue (by weight, of those that wait and itself)
  and are cleared within `queue_target` at the mean hold (one for each permit while no hold is known; without `codel`, all of the
  share). It is no more than quotas let pass at once; and 0 while the pool drains, is overloaded or has no worker.

  A *loan* is one process's. What it wishes for is granted as there is room: at once, or by a message when there is, each in turn, and
  no more at a time than its part of the room. What was granted is *held*, and others' room is less by as much, until it is taken
  to send a request, given back, not taken within the loan's `ttl`, or its owner dies. A credit is no permit, and takes none: who sends
  without is served as well.

  ## Who is out of service

  A worker may be ejected, by what its requests came to or by hand, or not ready; then it is given nothing new, but in a panic:
  `Kantoku.Engine.Pools.Standing` has the rules.

  ## Messages

  To who asked, at most one for each ticket, and exactly one if the pool ends the ticket while somebody waits for it:

    * `{:kantoku_pool, tag, {:granted, pid}}` - of a check-out that waited;
    * `{:kantoku_pool, tag, {:refused, reason, retry_in}}` - of a ticket that waited, or of a call that was served when the pool was closed;
    * `{:kantoku_pool, tag, :down}` - the worker of a call died;
    * `{:kantoku_pool, tag, {:reply, reply}}` - its worker ended it with `c:pool_reply/4`.

  To the owner of a loan:

    * `{:kantoku_pool, tag, {:credits, count}}` - so many more of those that it wishes for are granted;
    * `{:kantoku_pool, tag, {:refused, :closed, 0}}` - the pool was closed while it wished for more.

  To the foreman:

    * `{:kantoku_pool, pool, {:abandoned, ticket, pid}}` - a worker is at something that nobody waits for: `c:pool_answered/3`
      says when it is done;
    * `{:kantoku_pool, pool, {:cast, ticket, pid}}` - the same of a cast, which nobody ever waited for;
    * `{:kantoku_pool, pool, {:left, pid}}` - a worker that was to leave has nothing left;
    * `{:kantoku_pool, pool, {:down, pid}}` - a worker died;
    * `{:kantoku_pool, pool, :pressed}` - for the first time since the last `c:pool_tick/2` a request that comes has to wait, or
      finds the queue full, or more credits are wished for than there is room. What a quota refuses, more workers would not serve;
    * `{:kantoku_pool, pool, {:ejected, pid, member}}`, `{:kantoku_pool, pool, {:returned, member}}` - `c:pool_ejections/2` says why. Of who
      leaves no return is told;
    * `{:kantoku_pool, pool, {:panic, entered}}` - a panic begins, or ends.
  """

  import Kantoku.Engine.Dispatch
  alias Kantoku.Engine.Pools.Standing

  @type instance :: Kantoku.Engine.instance()

  @typedoc "A pool's name, unique in its instance."
  @type pool :: atom

  @typedoc """
  How a worker is chosen among those with a free permit:

    * `:round_robin` - the next member in order of number after the last chosen;
    * `:random`;
    * `:least_loaded` - with fewest ongoing;
    * `:power_of_two` - of two random ones, that with fewer ongoing;
    * `:peak_ewma` - of two random ones, that with the lower product of latency and ongoing + 1;
    * `:hash` - that with the highest rendezvous weight of the route and its member number; without a route, any;
    * `:lifo` - that which became free last, after it had no permit free.

  Equals are taken in any order. A latency is that of Finagle's peak EWMA: a longer hold is believed at once, a shorter one takes
  effect with `exp(-dt / decay_time)`, in which also an old latency fades. Every hold counts that ends with a check-in or with
  `c:pool_answered/3`.
  """
  @type strategy :: :round_robin | :random | :least_loaded | :power_of_two | :peak_ewma | :hash | :lifo

  @typedoc "For whom a request is: the unit of fairness. Integers of up to 60 bits, binaries of up to 255 bytes."
  @type tenant :: nil | atom | integer | binary

  @typedoc "A limit of rate: whose, of what, how many a minute, and how many at once."
  @type quota ::
          {who :: :pool | :each | {:tenant, tenant}, what :: :requests | :tokens, per_minute :: pos_integer,
           burst :: pos_integer}

  @typedoc """
  All of a pool's configuration. Durations are in ms. A pool is not `direct` if something else has a say before a worker is asked for:
  then `c:pool_take/2` gives none.
  """
  @type config :: %{
          strategy: strategy,
          max_ongoing: pos_integer,
          max_queue: non_neg_integer,
          queue_target: pos_integer,
          queue_interval: pos_integer,
          decay_time: pos_integer,
          codel: boolean,
          draining: boolean,
          over_quota: boolean,
          direct: boolean,
          weights: [{tenant, weight :: 1..1_000_000}],
          quotas: [quota],
          ejection: Standing.ejection() | nil,
          slow_start: Standing.slow_start() | nil,
          healthy_panic_threshold: 0..100
        }

  @typedoc "A place among a pool's workers: a successor has its predecessor's number."
  @type member :: non_neg_integer

  @typedoc "0 is high, 1 normal, 2 low."
  @type priority :: 0..2

  @typedoc """
  What is asked for, besides the request: `cost` is counted by fairness and by quotas of tokens; who has waited longer than
  `wait` ms is refused; `route` is what `:hash` hashes, or the worker to take under any strategy if it can take it now, which is
  asked again at the turn of who waits. `nil` is `{nil, 1, 1, :infinity, nil}`.
  """
  @type params ::
          nil
          | {tenant, priority, cost :: 1..1_000_000, wait :: non_neg_integer | :infinity,
             route :: nil | 0..0xFFFFFFFF | pid}

  @typedoc "Names one admitted request. Its place is used again, the ticket not within 2^35 uses of that."
  @type ticket :: non_neg_integer

  @type reason :: :queue_full | :overloaded | :quota | :deadline | :draining | :closed

  @typedoc "Ms until it may be tried again; 0 where that is no use (`:draining`, `:closed`, `:deadline`)."
  @type retry_in :: non_neg_integer

  @type refusal :: {:error, reason, retry_in}

  @typedoc "How what was checked out went. `:abandoned`: the worker may still be busy with it."
  @type outcome :: :ok | :error | :abandoned

  @typedoc "Names one loan, as a ticket does a request."
  @type loan :: non_neg_integer

  @typedoc "Of each request of a loan; `ttl` is in ms."
  @type terms :: {tenant, cost :: 1..1_000_000, ttl :: 1..0xFFFFFFFF}

  @typedoc """
  What its owner does with a loan: `:ask` for so many more; `:take` so many of those it holds, to send as many requests; `:give_back` so
  many; `:close` it.
  """
  @type dealing :: :ask | :take | :give_back | :close

  # Life ------------------------------------------------------------------------------------------------------------

  @doc """
  Opens a pool; if it is open already, changes its configuration and its foreman. It ends with its instance at the latest.

  What was admitted stays so: a shorter queue drops nobody, a worker that has more than a lowered `max_ongoing` gets nothing until it
  has less, and a raised one serves who waits. While it drains, those who wait are served. A new foreman hears of nothing again.
  """
  @callback pool_open(instance, pool, foreman :: pid, config) :: :ok | :unknown

  @doc """
  Closes a pool. Who waits is told `{:refused, :closed, 0}`, and so are the callers of calls that workers have. As much is told
  when the instance ends.
  """
  @callback pool_close(instance, pool) :: :ok | :unknown

  @doc """
  Adds a worker, which takes work from now on and is watched.

  Joining twice changes nothing, whatever the number, but that who was shut takes work again; who was leaving stays. A place goes to the new one if its worker is dead, or
  leaves; else it is `{:error, {:taken, pid}}`. `{:error, :noproc}` if `pid` is dead, or of another node.
  """
  @callback pool_join(instance, pool, pid, member) :: :ok | {:error, :noproc | {:taken, pid}} | :unknown

  @doc """
  Gives a worker nothing new; the foreman hears `{:left, pid}` when it has nothing left, or `{:down, pid}` if it dies before.
  `:none` if it is no worker here.
  """
  @callback pool_leave(instance, pool, pid) :: :ok | :none | :unknown

  @doc "Gives a worker nothing new until it joins again, as it is not ready. `:none` if it is no worker here."
  @callback pool_shut(instance, pool, pid) :: :ok | :none | :unknown

  @doc "Ejects a worker by hand. `:none` if none of that number stays here."
  @callback pool_eject(instance, pool, member, ms :: 1..0xFFFFFFFF | :infinity) :: :ok | :none | :unknown

  @doc "Lets an ejected worker in again. `:none` if it is not ejected."
  @callback pool_readmit(instance, pool, member) :: :ok | :none | :unknown

  # Requests --------------------------------------------------------------------------------------------------------

  @doc """
  Sends a request to a worker as a call of the calling process, `{:"$gen_call", {caller, tag}, request}`: at once, or when
  it is its turn.
  """
  @callback pool_call(instance, pool, tag :: term, request :: term, params) ::
              {:sent, ticket, pid} | {:queued, ticket} | refusal | :unknown

  @doc "Gives the calling process a worker: at once, or by a message when it is its turn."
  @callback pool_checkout(instance, pool, tag :: term, params) ::
              {:granted, ticket, pid} | {:queued, ticket} | refusal | :unknown

  @doc """
  Gives the calling process a worker as `c:pool_checkout/4` with `nil` does, if the engine has a short way to one that is free now:
  its ticket and its pid. `:ask` is no answer, and has changed nothing: `c:pool_checkout/4` has one.
  """
  @callback pool_take(instance, pool) :: nonempty_improper_list(ticket, pid) | :ask | :unknown

  @doc """
  Sends a request to a worker as `{:"$gen_cast", request}`: at once, or when it is its turn. It is abandoned from the moment it
  is sent, which the foreman hears of.
  """
  @callback pool_cast(instance, pool, request :: term, params) :: {:sent, pid} | :queued | refusal | :unknown

  @doc """
  Ends a ticket of the calling process whose answer came, or whose worker is not needed any more; as `:abandoned`, leaves it to the
  foreman. `:gone`: it ended before, or was abandoned. If it was the pool that ended it, as a call or waiting, its message is
  there or on its way. `{:error, :foreign}`: it is another's, or still waits.
  """
  @callback pool_checkin(instance, pool, ticket, outcome) :: :ok | :gone | {:error, :foreign} | :unknown

  @doc """
  Answers a call that the calling process has as a worker, and ends its ticket: who waits for it is sent the reply, and the permit goes to
  whoever is next, in the same step. A worker that is killed meanwhile has done all of it, or nothing.

    * `:ok` - the caller has the reply;
    * `:late` - it was given up, or its caller is dead: nothing was sent, and its permit is free when the foreman says so, as ever;
    * `:none` - the calling process has no call of that tag here.
  """
  @callback pool_reply(instance, pool, tag :: term, reply :: term) :: :ok | :late | :none | :unknown

  @doc """
  Gives up a ticket of the calling process.

    * `:cancelled` - it waited: nothing was sent and nothing will be;
    * `:abandoned` - a call that a worker has: its permit stays used until the worker has answered;
    * `:returned` - a grant crossed this: the worker went back, and the message comes. So does any check-out, as one that nothing
      was done with;
    * `:gone` - it ended before, as for `c:pool_checkin/4`;
    * `{:error, :foreign}` - it is another's.
  """
  @callback pool_cancel(instance, pool, ticket) ::
              :cancelled | :abandoned | :returned | :gone | {:error, :foreign} | :unknown

  # Credits ---------------------------------------------------------------------------------------------------------

  @doc "How many requests of a cost a tenant may send now."
  @callback pool_room(instance, pool, tenant, cost :: 1..1_000_000) :: non_neg_integer | :unknown

  @doc "Opens a loan of the calling process, with nothing wished for yet. Messages about it carry `tag`."
  @callback pool_lend(instance, pool, tag :: term, terms) :: {:ok, loan} | :unknown

  @doc """
  Deals with a loan: how many were granted at once, taken or given back, which may be fewer than `count`; as it is closed, all that it
  held. `:gone`: it was closed; `{:error, :foreign}`: it is another's. Any process may `:take`: whoever sends.
  """
  @callback pool_loan(instance, pool, loan, dealing, count :: 0..0xFFFFFFFF) ::
              non_neg_integer | :gone | {:error, :foreign} | :unknown

  # The foreman's ---------------------------------------------------------------------------------------------------

  @doc "The worker is done with an abandoned ticket: its permit is free."
  @callback pool_answered(instance, pool, ticket) :: :ok | :gone | :unknown

  @doc "All abandoned tickets and who is at them: what a foreman that was started again has to know."
  @callback pool_abandoned(instance, pool) :: [{:abandoned | :cast, ticket, pid}] | :unknown

  @doc "Refuses who has waited too long, and moves the interval of overload. To be called some ten times a second."
  @callback pool_tick(instance, pool) :: :ok | :unknown

  # Looking ---------------------------------------------------------------------------------------------------------

  @doc """
  Counts of a pool.

    * `workers`, `ready` (that take work: who is not aside, or in a panic all that stay), `leaving`; `free` permits of these;
    * of those that stay, `ejected`, `not_ready` and `growing` (with a part of their share); `panic`, 0 or 1; `held_back`: how often nobody was
      ejected any more, as enough were;
    * `ongoing` (permits in use), `abandoned` (of these); `queue` (waiting), `tenants` (that wait);
    * since it was opened, `arrived`, which is the sum of `served` (given to a worker), `refused`, `expired` (refused with `:deadline`),
      `cancelled` (by the caller or its death, while waiting) and `queue`;
    * of the served, those that `succeeded`, `failed` (checked in with `:error`), were `given_up` (and the worker is done with them by now),
      `lost` (their worker died) or `returned` (granted as they were cancelled); the rest is `ongoing`;
    * of the refused, those `dropped` under overload, `drained` (that came while the pool drained) and `over_quota`; the rest found the
      queue full;
    * `unlimited`: admitted, while there were quotas, under none of their tenants' own;
      `let_through`: requests a minute that the quotas of tenants let through, of those that came within the last 10 s (0 for 256 or
      more), at the mean `cost` (in thousandths) of what is admitted while there are quotas;
    * `credits` that are held, `wishes`: loans that wish for more;
    * `overloaded`, 0 or 1;
    * `wait`, `hold`: means of waits (0 of who is served at once) and holds in us, in which the last counts a sixteenth.
  """
  @callback pool_status(instance, pool) :: %{atom => non_neg_integer} | :unknown

  @doc "Who is ejected or was lately, and whose share grows, in order of member."
  @callback pool_ejections(instance, pool) :: [Standing.ejected()] | :unknown

  @doc "The workers in order of member. In a panic nobody is `:ejected` or `:not_ready`."
  @callback pool_workers(instance, pool) ::
              [
                {pid, member, Standing.t(), ongoing :: non_neg_integer, latency_us :: non_neg_integer,
                 served :: non_neg_integer}
              ]
              | :unknown

  # Dispatch --------------------------------------------------------------------------------------------------------

  @spec pool_open(instance, pool, pid, config) :: :ok | :unknown
  dispatch(pool_open(instance, pool, foreman, config))

  @spec pool_close(instance, pool) :: :ok | :unknown
  dispatch(pool_close(instance, pool))

  @spec pool_join(instance, pool, pid, member) :: :ok | {:error, :noproc | {:taken, pid}} | :unknown
  dispatch(pool_join(instance, pool, pid, member))

  @spec pool_leave(instance, pool, pid) :: :ok | :none | :unknown
  dispatch(pool_leave(instance, pool, pid))

  @spec pool_shut(instance, pool, pid) :: :ok | :none | :unknown
  dispatch(pool_shut(instance, pool, pid))

  @spec pool_eject(instance, pool, member, pos_integer | :infinity) :: :ok | :none | :unknown
  dispatch(pool_eject(instance, pool, member, ms))

  @spec pool_readmit(instance, pool, member) :: :ok | :none | :unknown
  dispatch(pool_readmit(instance, pool, member))

  @spec pool_call(instance, pool, term, term, params) :: {:sent, ticket, pid} | {:queued, ticket} | refusal | :unknown
  dispatch(pool_call(instance, pool, tag, request, params))

  @spec pool_checkout(instance, pool, term, params) :: {:granted, ticket, pid} | {:queued, ticket} | refusal | :unknown
  dispatch(pool_checkout(instance, pool, tag, params))

  @spec pool_take(instance, pool) :: nonempty_improper_list(ticket, pid) | :ask | :unknown
  dispatch(pool_take(instance, pool))

  @spec pool_cast(instance, pool, term, params) :: {:sent, pid} | :queued | refusal | :unknown
  dispatch(pool_cast(instance, pool, request, params))

  @spec pool_checkin(instance, pool, ticket, outcome) :: :ok | :gone | {:error, :foreign} | :unknown
  dispatch(pool_checkin(instance, pool, ticket, outcome))

  @spec pool_reply(instance, pool, term, term) :: :ok | :late | :none | :unknown
  dispatch(pool_reply(instance, pool, tag, reply))

  @spec pool_cancel(instance, pool, ticket) ::
          :cancelled | :abandoned | :returned | :gone | {:error, :foreign} | :unknown
  dispatch(pool_cancel(instance, pool, ticket))

  @spec pool_room(instance, pool, tenant, pos_integer) :: non_neg_integer | :unknown
  dispatch(pool_room(instance, pool, tenant, cost))

  @spec pool_lend(instance, pool, term, terms) :: {:ok, loan} | :unknown
  dispatch(pool_lend(instance, pool, tag, terms))

  @spec pool_loan(instance, pool, loan, dealing, non_neg_integer) ::
          non_neg_integer | :gone | {:error, :foreign} | :unknown
  dispatch(pool_loan(instance, pool, loan, dealing, count))

  @spec pool_answered(instance, pool, ticket) :: :ok | :gone | :unknown
  dispatch(pool_answered(instance, pool, ticket))

  @spec pool_abandoned(instance, pool) :: [{:abandoned | :cast, ticket, pid}] | :unknown
  dispatch(pool_abandoned(instance, pool))

  @spec pool_tick(instance, pool) :: :ok | :unknown
  dispatch(pool_tick(instance, pool))

  @spec pool_status(instance, pool) :: %{atom => non_neg_integer} | :unknown
  dispatch(pool_status(instance, pool))

  @spec pool_workers(instance, pool) ::
          [{pid, member, Standing.t(), non_neg_integer, non_neg_integer, non_neg_integer}] | :unknown
  dispatch(pool_workers(instance, pool))

  @spec pool_ejections(instance, pool) :: [Standing.ejected()] | :unknown
  dispatch(pool_ejections(instance, pool))
end
