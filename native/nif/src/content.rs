//! What is kept of a request, and the messages that are made of it.

use std::cell::RefCell;

use rustler::sys::{self, ErlNifEnv, ErlNifTerm};
use rustler::{Env, Term, TermType};

use crate::atoms;
use crate::beam::{self, Pid};

/// What is kept of a request: the caller's tag, or while it waits the message for the worker.
#[derive(Debug)]
pub struct Content {
    paper: Paper,
    kept: Kept,
    term: ErlNifTerm,
}

/// What a content's term is. As wide as a word, like all that is moved from hand to hand: what was written as a byte and is read as
/// part of a word has to be waited for.
#[derive(Clone, Copy, Debug)]
#[repr(u64)]
enum Kept {
    Tag,
    /// A message with the tag in it.
    Call,
    /// A message that nobody will be told of.
    Whole,
}

// SAFETY: an environment that no process owns may move between threads; it is written before it is shared, and only read
// from then on.
unsafe impl Send for Content {}
// SAFETY: as above.
unsafe impl Sync for Content {}

/// An environment to keep terms in. To make or to clear one costs more than all else that is done of a request, so each is
/// written on several times: what is light may lie there a little longer than it is needed.
#[derive(Debug)]
struct Paper {
    env: *mut ErlNifEnv,
    written: usize,
}

thread_local! {
    static SPARE: RefCell<Vec<Paper>> = const { RefCell::new(Vec::new()) };
}

const MOST_SPARE: usize = 64;
// A new environment has room for some 200 words.
const MOST_WRITTEN: usize = 12;
const LIGHT: u32 = 12;

impl Paper {
    fn take() -> Self {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        spare.unwrap_or_else(|| Self {
            // SAFETY: no arguments that could be wrong.
            env: unsafe { sys::enif_alloc_env() },
            written: 0,
        })
    }

    fn write(&mut self, term: Term<'_>, light: bool) -> ErlNifTerm {
        self.written = if light { self.written + 1 } else { MOST_WRITTEN };
        // SAFETY: the term is alive in its own environment during the call, and this one is ours alone.
        unsafe { sys::enif_make_copy(self.env, term.as_c_arg()) }
    }

    fn give_back(mut self) {
        if self.written >= MOST_WRITTEN {
            // SAFETY: ours alone by now.
            unsafe { sys::enif_clear_env(self.env) };
            self.written = 0;
        }
        let mut paper = Some(self);
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < MOST_SPARE {
                spare.extend(paper.take());
            }
        });
        if let Some(paper) = paper {
            // SAFETY: made by `enif_alloc_env`, freed once.
            unsafe { sys::enif_free_env(paper.env) };
        }
    }
}

// Whether a term is of a few words, and keeps nothing alive that is elsewhere, as the reference of a resource may.
fn is_light(term: Term<'_>, left: &mut u32) -> bool {
    if *left == 0 {
        return false;
    }
    *left -= 1;
    match term.get_type() {
        TermType::Atom | TermType::Float | TermType::Pid => true,
        TermType::Integer => term.decode::<i64>().is_ok(),
        TermType::Tuple => beam::items(term).all(|item| is_light(item, left)),
        TermType::List => match term.list_get_cell() {
            Ok((head, tail)) => is_light(head, left) && is_light(tail, left),
            Err(_) => term.is_empty_list(),
        },
        _ => false,
    }
}

impl Content {
    /// Of one whose request is on its way, or a check-out. A tag is a reference, or a few words around some.
    pub fn of_tag(tag: Term<'_>) -> Self {
        Self::new(Kept::Tag, tag, true)
    }

    /// Of a call that waits: what its worker is to be sent.
    pub fn of_call<'a>(env: Env<'a>, caller: Pid, tag: Term<'a>, request: Term<'a>) -> Self {
        let light = is_light(request, &mut { LIGHT });
        Self::new(Kept::Call, called(env, caller, tag, request), light)
    }

    /// Of a cast: what its worker is to be sent.
    pub fn of_cast<'a>(env: Env<'a>, request: Term<'a>) -> Self {
        let light = is_light(request, &mut { LIGHT });
        Self::new(Kept::Whole, casted(env, request), light)
    }

    fn new(kept: Kept, term: Term<'_>, light: bool) -> Self {
        let mut paper = Paper::take();
        let term = paper.write(term, light);
        Self { paper, kept, term }
    }

    /// Makes of a check-out's tag what its owner is told.
    pub fn grant(&mut self, worker: Pid) {
        // SAFETY: the term lives as long as its environment, which `self` owns, and nobody else reads now.
        let (env, tag) = unsafe {
            let env = Env::new(&self.paper, self.paper.env);
            (env, Term::new(env, self.term))
        };
        let granted = beam::tuple(env, &[beam::atom(env, atoms::granted()), worker.term(env)]);
        self.term = about(env, tag, granted).as_c_arg();
        self.kept = Kept::Whole;
    }

    pub fn message(&self) -> Option<ErlNifTerm> {
        match self.kept {
            Kept::Tag => None,
            Kept::Call | Kept::Whole => Some(self.term),
        }
    }

    /// Whether it is of the call of this tag.
    pub fn is_of(&self, tag: Term<'_>) -> bool {
        // SAFETY: both terms live.
        unsafe { sys::enif_is_identical(self.shown_tag(tag.get_env()).as_c_arg(), tag.as_c_arg()) != 0 }
    }

    pub fn tag<'a>(&self, env: Env<'a>) -> Term<'a> {
        copied(env, self.shown_tag(env))
    }

    // Where it lies, which is not in `env`.
    fn shown_tag<'a>(&self, env: Env<'a>) -> Term<'a> {
        // SAFETY: the term lives as long as its environment, which `self` owns.
        let term = unsafe { Term::new(env, self.term) };
        match self.kept {
            Kept::Tag => term,
            Kept::Call => tag_of(term).unwrap_or(term),
            Kept::Whole => beam::atom(env, atoms::nil()),
        }
    }
}
impl Drop for Content {
    fn drop(&mut self) {
        let Paper { env, written } = self.paper;
        Paper { env, written }.give_back();
    }
}

/// A call as `gen_server` has it.
pub fn called<'a>(env: Env<'a>, caller: Pid, tag: Term<'a>, request: Term<'a>) -> Term<'a> {
    let from = beam::tuple(env, &[caller.term(env), tag]);
    beam::tuple(env, &[beam::atom(env, atoms::gen_call()), from, request])
}

// The tag of such a call.
fn tag_of(message: Term<'_>) -> Option<Term<'_>> {
    let from = beam::items(message).nth(1)?;
    beam::items(from).nth(1)
}

/// A cast as `gen_server` has it.
pub fn casted<'a>(env: Env<'a>, request: Term<'a>) -> Term<'a> {
    beam::tuple(env, &[beam::atom(env, atoms::gen_cast()), request])
}

/// A term of another environment, copied into this one.
fn copied<'a>(env: Env<'a>, term: Term<'_>) -> Term<'a> {
    // SAFETY: the term is alive in its own environment during the call.
    unsafe { Term::new(env, sys::enif_make_copy(env.as_c_arg(), term.as_c_arg())) }
}

/// What a caller hears whose call its worker ended as it answered.
pub fn replied<'a>(env: Env<'a>, tag: Term<'a>, reply: Term<'a>) -> Term<'a> {
    about(
        env,
        tag,
        beam::tuple(env, &[beam::atom(env, atoms::reply()), reply]),
    )
}

/// What somebody is told of a request, a loan or a pool.
pub fn about<'a>(env: Env<'a>, of: Term<'a>, what: Term<'a>) -> Term<'a> {
    beam::tuple(env, &[beam::atom(env, atoms::kantoku_pool()), of, what])
}
