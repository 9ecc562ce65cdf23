//! What the VM loads: the table of functions, and load, upgrade and unload.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};
use std::time::Instant;

use rustler::sys::{self, ErlNifEntry, ErlNifEnv, ErlNifFunc, ErlNifTerm};
use rustler::{Encoder, Env, Term};

use crate::guard::{self, Answer, Entry};
use crate::{
    beam, breaker, entries, errand, exporters, exporters_figures, health, instance, lending, limits, metrics,
    metrics_resource, owner, pool, pool_life, pool_standing, reading, registry, state, store, trace,
};

// The most arguments a function of the table takes.
const MOST_ARGUMENTS: usize = 6;

/// Calls a function of ours with terms in place of words. `TIMED` ones may take longer than a microsecond and say how long.
#[inline]
unsafe fn enter<const TIMED: bool>(
    name: &'static str,
    env: *mut ErlNifEnv,
    count: c_int,
    words: *const ErlNifTerm,
    function: impl for<'a> FnOnce(Env<'a>, Words<'a>) -> Answer<'a>,
    again: Function,
) -> ErlNifTerm {
    let alive = ();
    // SAFETY: this call's environment, which outlives it, and as many words of it as are counted.
    let (env, words) = unsafe {
        (
            Env::new(&alive, env),
            std::slice::from_raw_parts(words, count as usize),
        )
    };
    let start = TIMED.then(Instant::now);
    let answer = guard::nif(
        name,
        env,
        || function(env, Words(words)),
        || elsewhere(env, again, words),
    );
    if let Some(start) = start {
        beam::consume(env, start);
    }
    answer
}

/// A call's arguments as the VM has them.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(&'a [ErlNifTerm]);

impl<'a> Words<'a> {
    /// One of them. Made where it is used: what is written in pieces and read as a whole is read late.
    #[inline(always)]
    pub fn term(self, env: Env<'a>, at: usize) -> Term<'a> {
        // SAFETY: only `enter` makes them, of the words of the environment that it hands out with them.
        unsafe { Term::new(env, self.0[at]) }
    }
}

// Calls a function that takes its arguments all at once.
#[inline]
fn with_terms<'a>(
    env: Env<'a>,
    words: Words<'a>,
    function: fn(Env<'a>, &[Term<'a>]) -> Answer<'a>,
) -> Answer<'a> {
    let mut terms = [MaybeUninit::<Term<'_>>::uninit(); MOST_ARGUMENTS];
    for (at, place) in terms.iter_mut().take(words.0.len()).enumerate() {
        place.write(words.term(env, at));
    }
    // SAFETY: so many were written; the table has no function with more than `MOST_ARGUMENTS`.
    let arguments = unsafe { std::slice::from_raw_parts(terms.as_ptr().cast::<Term<'_>>(), words.0.len()) };
    function(env, arguments)
}

type Function = unsafe extern "C" fn(*mut ErlNifEnv, c_int, *const ErlNifTerm) -> ErlNifTerm;

// The same call once more, on a dirty scheduler.
fn elsewhere(env: Env<'_>, function: Function, words: &[ErlNifTerm]) -> ErlNifTerm {
    let (name, flags) = (c"kantoku".as_ptr(), sys::ERL_NIF_DIRTY_JOB_CPU_BOUND as c_int);
    // SAFETY: the environment, the arguments and the function of the running call.
    unsafe {
        sys::enif_schedule_nif(
            env.as_c_arg(),
            name,
            flags,
            function,
            words.len() as c_int,
            words.as_ptr(),
        )
    }
}

macro_rules! functions {
    (@function bare $function:path) => { $function };
    (@function $other:ident $function:path) => { |env, words| with_terms(env, words, $function) };
    (@timed cold) => { true };
    (@timed $other:ident) => { false };
    (@flags disk) => { sys::ERL_NIF_DIRTY_JOB_IO_BOUND };
    (@flags long) => { sys::ERL_NIF_DIRTY_JOB_CPU_BOUND };
    (@flags $other:ident) => { sys::ERL_NIF_NORMAL_JOB };
    ($($(#[$only:meta])? $kind:ident $name:literal / $arity:literal => $function:path;)*) => {
        /// All functions, as `{name, arity}`.
        const NAMES: &[(&str, u32)] = &[$($(#[$only])? ($name, $arity),)*];

        static FUNCTIONS: Functions = Functions(&[$(
            $(#[$only])?
            ErlNifFunc {
                name: concat!($name, "\0").as_ptr().cast(),
                arity: $arity,
                function: {
                    unsafe extern "C" fn entry(
                        env: *mut ErlNifEnv,
                        count: c_int,
                        words: *const ErlNifTerm,
                    ) -> ErlNifTerm {
                        const { assert!(($arity as usize) < MOST_ARGUMENTS + 1) };
                        // SAFETY: the arguments are the VM's.
                        unsafe { enter::<{ functions!(@timed $kind) }>($name, env, count, words, functions!(@function $kind $function), entry) }
                    }
                    entry
                },
                flags: functions!(@flags $kind),
            },
        )*]);
    };
}

// `hot`: always below a microsecond or so. `bare`: so short that handing over its arguments would show. `cold`: says how much of its
// timeslice it took. `long` and `disk`: on the dirty schedulers for computing and for waiting.
functions! {
    hot "add_load" / 3 => entries::add_load;
    bare "breaker_allow" / 2 => breaker::allow;
    cold "breaker_ask" / 4 => breaker::ask;
    cold "breaker_beat" / 2 => breaker::beat;
    cold "breaker_close" / 2 => breaker::close;
    cold "breaker_open" / 4 => breaker::open;
    hot "breaker_record" / 5 => breaker::record;
    hot "claim" / 4 => registry::claim;
    long "close" / 1 => instance::close;
    cold "close_to_names" / 2 => limits::close_to_names;
    cold "count" / 2 => entries::count;
    cold "count_slice" / 3 => reading::count_slice;
    cold "describe" / 6 => entries::describe;
    hot "disclaim" / 3 => registry::disclaim;
    hot "entry" / 2 => entries::entry;
    cold "find" / 2 => entries::find;
    cold "find_pids" / 2 => entries::find_pids;
    cold "exporters_answer" / 4 => exporters::answer;
    hot "exporters_attach" / 0 => exporters::attach;
    hot "exporters_beat" / 2 => exporters::beat;
    disk "exporters_end" / 2 => exporters::end;
    cold "exporters_event" / 3 => exporters::event;
    hot "exporters_events_dropped" / 1 => exporters::events_dropped;
    disk "exporters_flush" / 1 => exporters::flush;
    long "exporters_give" / 1 => exporters_figures::give;
    disk "exporters_hang_up" / 1 => exporters::hang_up;
    disk "exporters_listen" / 5 => exporters::listen;
    long "exporters_history" / 2 => exporters_figures::history;
    long "exporters_look" / 1 => exporters_figures::look;
    long "exporters_metrics" / 2 => exporters_figures::metrics;
    cold "exporters_note" / 3 => exporters_figures::note;
    disk "exporters_push" / 3 => exporters::push;
    hot "exporters_readers" / 0 => exporters::readers;
    disk "exporters_start" / 1 => exporters::start;
    disk "exporters_status" / 0 => exporters::status;
    disk "exporters_stop" / 1 => exporters::stop;
    cold "functions" / 0 => functions;
    cold "health_add" / 5 => health::add;
    hot "health_beat" / 3 => health::beat;
    cold "health_change" / 4 => health::change;
    long "health_clear" / 1 => health::clear;
    cold "health_look" / 5 => health::look;
    hot "health_put_off" / 3 => health::put_off;
    cold "health_remove" / 3 => health::remove;
    cold "health_report" / 5 => health::report;
    cold "health_status" / 3 => health::status;
    hot "introduce" / 6 => entries::introduce;
    cold "keys" / 2 => reading::keys;
    cold "library" / 0 => library;
    cold "lookup" / 2 => reading::lookup;
    bare "metric_add" / 2 => metrics::add;
    bare "metric_observe" / 2 => metrics::observe;
    cold "metric_quantile" / 2 => metrics::quantile_of;
    bare "metric_set" / 2 => metrics::set;
    cold "metrics_bind" / 4 => metrics::bind;
    cold "metrics_bytes" / 1 => metrics::bytes;
    cold "metrics_declare" / 5 => metrics::declare;
    long "metrics_everything" / 0 => metrics::everything;
    cold "metrics_exemplar" / 6 => metrics::exemplar;
    cold "metrics_open" / 3 => metrics::open;
    cold "metrics_quantile" / 4 => metrics::quantile_at;
    cold "metrics_series" / 3 => metrics::series_of;
    long "metrics_snapshot" / 1 => metrics::snapshot;
    cold "metrics_unbind" / 4 => metrics::unbind;
    cold "open" / 4 => instance::open;
    cold "own" / 3 => reading::own;
    #[cfg(feature = "faults")]
    cold "provoke" / 1 => crate::fault::provoke;
    long "pool_abandoned" / 2 => pool_life::abandoned;
    hot "pool_answered" / 3 => pool_life::answered;
    hot "pool_call" / 5 => pool::call;
    hot "pool_cancel" / 3 => pool::cancel;
    hot "pool_cast" / 4 => pool::cast;
    bare "pool_checkin" / 4 => pool::checkin;
    hot "pool_checkout" / 4 => pool::checkout;
    long "pool_close" / 2 => pool_life::close;
    cold "pool_eject" / 4 => pool_standing::eject;
    cold "pool_ejections" / 2 => pool_standing::ejections;
    hot "pool_join" / 4 => pool_life::join;
    hot "pool_leave" / 3 => pool_life::leave;
    hot "pool_lend" / 4 => lending::lend;
    cold "pool_loan" / 5 => lending::deal;
    cold "pool_open" / 4 => pool_life::open;
    cold "pool_readmit" / 3 => pool_standing::readmit;
    hot "pool_reply" / 4 => pool::reply;
    hot "pool_room" / 4 => lending::room;
    cold "pool_shut" / 3 => pool_standing::shut;
    cold "pool_status" / 2 => pool_life::status;
    bare "pool_take" / 2 => pool::take;
    cold "pool_tick" / 2 => pool_life::tick;
    cold "pool_workers" / 2 => pool_life::workers;
    hot "put_value" / 4 => registry::put_value;
    hot "register" / 3 => registry::register;
    cold "seat" / 3 => instance::seat;
    hot "set_load" / 3 => entries::set_load;
    cold "slice" / 3 => reading::slice;
    long "stats" / 0 => instance::all_stats;
    long "stats" / 1 => instance::stats;
    disk "store_close" / 1 => store::close;
    cold "store_delete" / 4 => store::delete;
    disk "store_flush" / 1 => store::flush;
    disk "store_get" / 2 => store::get;
    disk "store_keys" / 3 => store::keys;
    disk "store_open" / 2 => store::open;
    cold "store_put" / 6 => store::put;
    long "store_put_large" / 6 => store::put;
    disk "store_set_aside" / 2 => store::set_aside;
    cold "store_stats" / 1 => store::stats;
    hot "take_over" / 4 => registry::take_over;
    cold "trace_counts" / 1 => trace::counts;
    cold "trace_give_up" / 2 => trace::give_up;
    cold "trace_host" / 3 => trace::host;
    cold "trace_open" / 3 => trace::open;
    cold "trace_put" / 2 => trace::put;
    cold "trace_take" / 2 => trace::take;
    hot "unregister" / 2 => registry::unregister;
    cold "unregister" / 3 => registry::unregister_some;
    cold "unwatch" / 2 => entries::unwatch;
    cold "watch" / 3 => entries::watch;
    bare "whereis" / 2 => reading::whereis;
}

/// `functions()`: what the table holds, to be compared with the stubs.
fn functions<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    let atom = |name: &str| rustler::Atom::from_str(env, name).map(|atom| atom.to_term(env));
    let all: Vec<(Term<'a>, u32)> = NAMES
        .iter()
        .filter_map(|&(name, arity)| Some((atom(name).ok()?, arity)))
        .collect();
    Ok(all.encode(env))
}

/// `library()`: `{build, layout}` of the library that serves.
fn library<'a>(env: Env<'a>, _args: &[Term<'a>]) -> Answer<'a> {
    Ok((state::BUILD, state::LAYOUT).encode(env))
}

// What `load` and `upgrade` return when they refuse; `lib/kantoku/native.ex` has the sentences.
const FAILED: c_int = 1;
const OTHER_LAYOUT: c_int = 2;

unsafe extern "C" fn load(env: *mut ErlNifEnv, data: *mut *mut c_void, info: ErlNifTerm) -> c_int {
    let loaded = guard::callback(Entry::Load, env, || {
        guard::install();
        provoked(info);
        let made = state::create(RandomState::new().hash_one(0_u64), schedulers());
        begin(env, made, data)
    });
    loaded.unwrap_or(FAILED)
}

unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    data: *mut *mut c_void,
    old: *mut *mut c_void,
    info: ErlNifTerm,
) -> c_int {
    let upgraded = guard::callback(Entry::Upgrade, env, || {
        guard::install();
        provoked(info);
        // SAFETY: the VM passes the place of the older build's private data.
        match state::take_over(unsafe { *old }) {
            Some(taken) => begin(env, taken, data),
            None => OTHER_LAYOUT,
        }
    });
    upgraded.unwrap_or(FAILED)
}

unsafe extern "C" fn unload(env: *mut ErlNifEnv, data: *mut c_void) {
    guard::callback(Entry::Unload, env, || state::leave(data));
}

#[cfg(feature = "faults")]
fn provoked(info: ErlNifTerm) {
    crate::fault::in_load(beam::word(info));
}

#[cfg(not(feature = "faults"))]
fn provoked(_: ErlNifTerm) {}

fn begin(env: *mut ErlNifEnv, made: *mut c_void, data: *mut *mut c_void) -> c_int {
    let alive = ();
    // SAFETY: the environment of the running callback.
    let known = beam::words_are_known(unsafe { Env::new(&alive, env) });
    if !known
        || !stay_mapped()
        || !owner::register_kind(env)
        || !metrics_resource::register_kind(env)
        || errand::start(state::state()).is_err()
    {
        return FAILED;
    }
    // SAFETY: the VM passes the place for our private data.
    unsafe { *data = made };
    0
}

// Threads and destructors of this build may run after its module was purged: its code stays where it is, for good.
fn stay_mapped() -> bool {
    let mut found = MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: asks which library holds this function, then opens that file, which is loaded, once more to pin it.
    unsafe {
        libc::dladdr(stay_mapped as *const c_void, found.as_mut_ptr()) != 0
            && !libc::dlopen(
                found.assume_init().dli_fname,
                libc::RTLD_NOW | libc::RTLD_NODELETE,
            )
            .is_null()
    }
}

fn schedulers() -> usize {
    let mut info = MaybeUninit::<sys::ErlNifSysInfo>::zeroed();
    // SAFETY: the VM fills in as much as we say there is room for.
    unsafe {
        sys::enif_system_info(info.as_mut_ptr(), size_of::<sys::ErlNifSysInfo>());
        info.assume_init().scheduler_threads.max(1) as usize
    }
}

struct Functions(&'static [ErlNifFunc]);

// SAFETY: never written, and its pointers lead to literals.
unsafe impl Sync for Functions {}

/// The VM looks for this symbol.
#[unsafe(no_mangle)]
pub extern "C" fn nif_init() -> *const ErlNifEntry {
    // SAFETY: only here, before any function of the table can run.
    unsafe { sys::internal_write_symbols() };
    let entry = std::panic::catch_unwind(|| {
        let mut entry = ErlNifEntry::new(c"Elixir.Kantoku.Native", FUNCTIONS.0, load);
        entry.upgrade = Some(upgrade);
        entry.unload = Some(unload);
        entry.options = sys::ERL_NIF_DIRTY_NIF_OPTION;
        &*Box::leak(Box::new(entry))
    });
    entry.map_or(std::ptr::null(), std::ptr::from_ref)
}
