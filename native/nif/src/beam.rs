//! The NIF API as the rest of this crate sees it. Nothing here knows Kantoku.
//!
//! Terms are [`rustler::Term`]s, tied to their environment by lifetime. A [`Pid`] and an [`Atom`] are immediates: their
//! word says all, in any environment.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Instant;

use rustler::sys::{self, ErlNifEnv, ErlNifPid, ErlNifTerm};
use rustler::types::atom::Atom;
use rustler::{Encoder, Env, Term};

/// The nanoseconds of a millisecond.
pub const MS: i64 = 1_000_000;

/// A term's bare word. Says the term only where that is an immediate.
#[inline]
pub fn word(term: ErlNifTerm) -> u64 {
    // SAFETY: `ErlNifTerm` is `repr(transparent)` over `usize`.
    unsafe { std::mem::transmute::<ErlNifTerm, usize>(term) as u64 }
}

#[inline]
fn from_word(word: u64) -> ErlNifTerm {
    // SAFETY: as in `word`.
    unsafe { std::mem::transmute::<usize, ErlNifTerm>(word as usize) }
}

/// A local process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pid(pub u64);

impl Pid {
    pub fn of(term: Term<'_>) -> Option<Self> {
        let mut pid = ErlNifPidWord(0);
        // SAFETY: env and term belong together, and the place is of the size of an `ErlNifPid`.
        let local = unsafe {
            sys::enif_get_local_pid(
                term.get_env().as_c_arg(),
                term.as_c_arg(),
                ptr::from_mut(&mut pid).cast(),
            )
        };
        (local != 0).then_some(Pid(pid.0 as u64))
    }

    /// The process that called the NIF.
    #[inline]
    pub fn caller(env: Env<'_>) -> Option<Self> {
        let mut pid = ErlNifPidWord(0);
        // SAFETY: as in `of`.
        let found = unsafe { sys::enif_self(env.as_c_arg(), ptr::from_mut(&mut pid).cast()) };
        (!found.is_null()).then_some(Pid(pid.0 as u64))
    }

    /// Whether the process lives. `env` is the caller's, or null on a thread that is not a scheduler.
    #[inline]
    pub fn is_alive(self, env: *mut ErlNifEnv) -> bool {
        let pid = ErlNifPidWord(self.0 as usize);
        // SAFETY: the word came out of an `ErlNifPid`, and the function takes any thread.
        unsafe { sys::enif_is_process_alive(env, ptr::from_ref(&pid).cast()) != 0 }
    }

    #[inline]
    pub fn term(self, env: Env<'_>) -> Term<'_> {
        // SAFETY: a local pid is an immediate.
        unsafe { Term::new(env, from_word(self.0)) }
    }

    pub fn with_raw<R>(self, with: impl FnOnce(*const ErlNifPid) -> R) -> R {
        let pid = ErlNifPidWord(self.0 as usize);
        with(ptr::from_ref(&pid).cast())
    }

    /// # Safety
    /// `pid` is one that the VM gave, and alive.
    pub unsafe fn from_raw(pid: *const ErlNifPid) -> Self {
        // SAFETY: as the caller says, and of the same layout.
        unsafe { Pid((*pid.cast::<ErlNifPidWord>()).0 as u64) }
    }
}

// `ErlNifPid` with its field in the open: `repr(C)` over one term word.
#[repr(C)]
struct ErlNifPidWord(usize);

#[inline]
pub fn is_atom(term: Term<'_>) -> bool {
    // SAFETY: env and term belong together.
    unsafe { sys::enif_is_atom(term.get_env().as_c_arg(), term.as_c_arg()) != 0 }
}

// How a word says what it is: by its lowest bits, which are these in every release, and looked at when the library is loaded.
const PRIMARY: u64 = 0b11;
const BOXED: u64 = 0b10;
const SMALL: (u64, u32) = (0b1111, 4);
const ATOM: (u64, u32) = (0b00_1011, 6);

/// Whether a term is neither an immediate nor a list.
#[inline]
pub fn is_boxed(term: Term<'_>) -> bool {
    word(term.as_c_arg()) & PRIMARY == BOXED
}

/// An integer that is in its word.
#[inline]
pub fn small(term: Term<'_>) -> Option<i64> {
    numbered(term, SMALL).map(|number| number as i64)
}

/// The term of an integer of at most 59 bits.
#[inline]
pub fn small_integer(env: Env<'_>, integer: u64) -> Term<'_> {
    let (tag, bits) = SMALL;
    immediate(env, integer << bits | tag)
}

/// An atom's number: its own for the life of the VM.
#[inline]
pub fn atom_number(term: Term<'_>) -> Option<u64> {
    numbered(term, ATOM).map(|number| number as usize as u64)
}

/// The atom of a number.
#[inline]
pub fn numbered_atom(env: Env<'_>, number: u64) -> Term<'_> {
    let (tag, bits) = ATOM;
    immediate(env, number << bits | tag)
}

#[inline]
fn numbered(term: Term<'_>, (tag, bits): (u64, u32)) -> Option<isize> {
    let word = word(term.as_c_arg());
    let is = word & ((1 << bits) - 1) == tag;
    is.then_some(word as isize >> bits)
}

/// Whether this VM's words are as we read them.
pub fn words_are_known(env: Env<'_>) -> bool {
    let atom = rustler::types::atom::ok().to_term(env);
    let is_atom = atom_number(atom).is_some_and(|number| numbered_atom(env, number) == atom);
    let integers = [0, 1, -1, 1 << 26, -(1 << 26)];
    let are_small = integers.iter().all(|&integer: &i64| {
        let term = integer.encode(env);
        let again = || u64::try_from(integer).is_ok_and(|integer| small_integer(env, integer) == term);
        small(term) == Some(integer)
            && (integer < 0 || again())
            && atom_number(term).is_none()
            && !is_boxed(term)
    });
    let tuple = tuple(env, &[atom]);
    is_atom && are_small && small(atom).is_none() && is_boxed(tuple) && !is_boxed(atom)
}

/// The term of an immediate's word.
#[inline]
pub fn immediate(env: Env<'_>, word: u64) -> Term<'_> {
    // SAFETY: only words of atoms, local pids, small integers and the empty list are kept as words.
    unsafe { Term::new(env, from_word(word)) }
}

#[inline]
pub fn atom(env: Env<'_>, atom: Atom) -> Term<'_> {
    atom.to_term(env)
}

#[inline]
pub fn tuple<'a>(env: Env<'a>, items: &[Term<'a>]) -> Term<'a> {
    const MOST: usize = 8;
    assert!(items.len() <= MOST, "a tuple of at most {MOST}");
    let mut raw = [from_word(0); MOST];
    for (place, item) in raw.iter_mut().zip(items) {
        *place = item.as_c_arg();
    }
    // SAFETY: as many terms of this environment as are counted.
    unsafe {
        Term::new(
            env,
            sys::enif_make_tuple_from_array(env.as_c_arg(), raw.as_ptr(), items.len() as u32),
        )
    }
}

/// A binary's bytes; `None` if it is none.
#[inline(always)]
pub fn bytes<'t>(term: &'t Term<'_>) -> Option<&'t [u8]> {
    let mut found = MaybeUninit::<sys::ErlNifBinary>::uninit();
    // SAFETY: env and term belong together; on success it is filled in, and the bytes live as long as the call.
    unsafe {
        let (env, word) = (term.get_env().as_c_arg(), term.as_c_arg());
        if sys::enif_inspect_binary(env, word, found.as_mut_ptr()) == 0 {
            return None;
        }
        let found = found.assume_init_ref();
        Some(if found.size == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(found.data, found.size)
        })
    }
}

/// A tuple's items; none if it is no tuple.
#[inline]
pub fn items(term: Term<'_>) -> impl ExactSizeIterator<Item = Term<'_>> {
    let env = term.get_env();
    // SAFETY: the terms live as long as the tuple.
    raw_items(term)
        .iter()
        .map(move |&item| unsafe { Term::new(env, item) })
}

#[inline]
fn raw_items(term: Term<'_>) -> &[ErlNifTerm] {
    let (mut arity, mut items) = (0, ptr::null());
    // SAFETY: env and term belong together; on success the array has `arity` terms and lives as long as the tuple.
    unsafe {
        if sys::enif_get_tuple(term.get_env().as_c_arg(), term.as_c_arg(), &mut arity, &mut items) == 0
            || arity == 0
        {
            return &[];
        }
        std::slice::from_raw_parts(items, arity as usize)
    }
}

/// Puts `head` before `tail`.
pub fn cons<'a>(env: Env<'a>, head: Term<'a>, tail: Term<'a>) -> Term<'a> {
    // SAFETY: all of one environment.
    unsafe {
        Term::new(
            env,
            sys::enif_make_list_cell(env.as_c_arg(), head.as_c_arg(), tail.as_c_arg()),
        )
    }
}

pub fn nil(env: Env<'_>) -> Term<'_> {
    // SAFETY: a list of no items reads none.
    unsafe {
        Term::new(
            env,
            sys::enif_make_list_from_array(env.as_c_arg(), ptr::null(), 0),
        )
    }
}

/// A new reference.
pub fn reference(env: Env<'_>) -> Term<'_> {
    // SAFETY: makes a term of this environment.
    unsafe { Term::new(env, sys::enif_make_ref(env.as_c_arg())) }
}

/// Whether this thread may be held: it is no ordinary scheduler.
pub fn may_be_held() -> bool {
    // SAFETY: no arguments that could be wrong.
    unsafe { sys::enif_thread_type() != sys::ERL_NIF_THR_NORMAL_SCHEDULER }
}

/// Says how much of a timeslice was used up since `start`. Not by the VM's clock: that is behind a lock that all
/// schedulers share.
pub fn consume(env: Env<'_>, start: Instant) {
    const SLICE_NS: u128 = 1_000_000;
    let percent = (start.elapsed().as_nanos() * 100 / SLICE_NS).clamp(1, 100);
    // SAFETY: the environment of a NIF call on a scheduler.
    unsafe { sys::enif_consume_timeslice(env.as_c_arg(), percent as i32) };
}

/// Monotonic nanoseconds, the same in every build of this library.
#[inline]
// Their fields are narrower on other systems.
#[allow(clippy::unnecessary_cast)]
pub fn now() -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a place for the answer, and a clock that is always there. Not by the VM's clock, as in `consume`.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as i64 * 1_000_000_000 + time.tv_nsec as i64
}

/// The process registered under a name. `env` as in [`Pid::is_alive`].
pub fn registered(env: *mut ErlNifEnv, name: u64) -> Option<Pid> {
    let mut pid = ErlNifPidWord(0);
    // SAFETY: an atom's word, and a place of the size of an `ErlNifPid`.
    let found = unsafe { sys::enif_whereis_pid(env, from_word(name), ptr::from_mut(&mut pid).cast()) };
    (found != 0).then_some(Pid(pid.0 as u64))
}

/// A message in an environment of its own, to be sent from any thread.
#[derive(Debug)]
pub struct Message {
    env: *mut ErlNifEnv,
    term: ErlNifTerm,
}

// SAFETY: an environment that no process owns may move between threads, and only its owner touches it.
unsafe impl Send for Message {}

impl Message {
    pub fn build(build: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) -> Self {
        // SAFETY: a fresh environment, of which no other `Env` exists.
        unsafe {
            let env = sys::enif_alloc_env();
            let term = build(Env::new(&env, env)).as_c_arg();
            Message { env, term }
        }
    }

    /// As [`Message::build`], of a bare term.
    pub fn build_raw(build: impl FnOnce(Env<'_>) -> ErlNifTerm) -> Self {
        // SAFETY: as in `build`.
        unsafe {
            let env = sys::enif_alloc_env();
            let term = build(Env::new(&env, env));
            Message { env, term }
        }
    }

    /// Sends to a process, from a thread that is not a scheduler.
    pub fn send(self, to: Pid) {
        self.send_from(ptr::null_mut(), to);
    }

    /// Sends from wherever the caller is: `env` is the call's or callback's, or null on a thread that is not a scheduler.
    pub fn send_from(self, env: *mut ErlNifEnv, to: Pid) {
        // SAFETY: the environment says what thread this is; the message's own is spent by the call and freed with `self`.
        to.with_raw(|pid| unsafe { sys::enif_send(env, pid, self.env, self.term) });
    }

    /// Shows the term in another environment.
    pub fn show<'a>(&self, env: Env<'a>) -> Term<'a> {
        // SAFETY: the term lives as long as its environment, which `self` owns.
        unsafe { Term::new(env, sys::enif_make_copy(env.as_c_arg(), self.term)) }
    }

    /// Whether the message is that term.
    pub fn is(&self, term: Term<'_>) -> bool {
        // SAFETY: both terms live.
        unsafe { sys::enif_is_identical(self.term, term.as_c_arg()) != 0 }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: made by `enif_alloc_env`, freed once.
        unsafe { sys::enif_free_env(self.env) };
    }
}
