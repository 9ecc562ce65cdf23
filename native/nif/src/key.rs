//! The one spelling of a key, where it has one (see `kantoku_core::key`), and back.
//!
//! An atom is spelled by its word, which is its own for the life of the VM. Two keys are `===` exactly when their spellings
//! are equal; a key without one is compared as a term.

use foldhash::fast::FixedState;
use kantoku_core::key::{Form, Key, Probe};
use rustler::sys::{self, ErlNifHash};
use rustler::{Binary, Encoder, Env, Term, TermType};
use std::hash::BuildHasher;
use std::mem::MaybeUninit;

use crate::beam;
use crate::terms::{Bags, Raw};

const LONGEST: usize = 320;
const DEEPEST: u32 = 4;

const ATOM: u8 = 1;
const INTEGER: u8 = 2;
const BINARY: u8 = 3;
const TUPLE: u8 = 4;

/// A caller's key, spelled if it can be.
pub struct Asked<'a> {
    term: Term<'a>,
    // Written up to `len`. Left as it lies beyond: to clear it would cost more than to spell most keys.
    bytes: [MaybeUninit<u8>; LONGEST],
    len: usize,
    spelled: bool,
}

impl<'a> Asked<'a> {
    #[inline]
    pub fn new(term: Term<'a>) -> Self {
        let mut asked = Asked {
            term,
            bytes: [const { MaybeUninit::uninit() }; LONGEST],
            len: 0,
            spelled: false,
        };
        asked.spelled = asked.spell(term, 0);
        asked
    }

    /// How to look the key up.
    #[inline]
    pub fn probe(&self, seed: u64) -> Probe<'_, Bags> {
        if self.spelled {
            let bytes = self.written();
            return Probe {
                hash: hash(seed, bytes),
                form: Form::Spelled(bytes),
            };
        }
        // The VM's own hash goes with `===`, but has 32 bits only.
        // SAFETY: the term is of the running call.
        let own = unsafe {
            sys::enif_hash(
                ErlNifHash::ERL_NIF_INTERNAL_HASH,
                self.term.as_c_arg(),
                seed >> 32,
            )
        };
        Probe {
            hash: hash(seed, &own.to_le_bytes()),
            form: Form::Term(Raw::of(self.term)),
        }
    }

    pub fn spelling(&self) -> Option<&[u8]> {
        self.spelled.then(|| self.written())
    }

    fn spell(&mut self, term: Term<'_>, depth: u32) -> bool {
        match term.get_type() {
            TermType::Atom => self.add(ATOM, &beam::word(term.as_c_arg()).to_le_bytes()),
            TermType::Integer => term
                .decode::<i64>()
                .is_ok_and(|integer| self.add(INTEGER, &integer.to_le_bytes())),
            TermType::Binary => Binary::from_term(term).is_ok_and(|binary| self.add_binary(&binary)),
            TermType::Tuple if depth < DEEPEST => self.add_tuple(term, depth),
            _ => false,
        }
    }

    fn add(&mut self, kind: u8, bytes: &[u8]) -> bool {
        self.write(&[kind]) && self.write(bytes)
    }

    fn add_binary(&mut self, binary: &[u8]) -> bool {
        // A length that does not fit its two bytes does not fit the spelling either.
        let len = binary.len() as u16;
        self.add(BINARY, &len.to_le_bytes()) && self.write(binary)
    }

    fn write(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        let Some(place) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        // SAFETY: a byte that is there is also one that may be there.
        let bytes = unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) };
        place.copy_from_slice(bytes);
        self.len = end;
        true
    }

    #[inline]
    fn written(&self) -> &[u8] {
        // SAFETY: `write` has written all up to `len`.
        unsafe { &*(std::ptr::from_ref(&self.bytes[..self.len]) as *const [u8]) }
    }

    fn add_tuple(&mut self, term: Term<'_>, depth: u32) -> bool {
        let arity = beam::items(term).count();
        arity < 32
            && self.add(TUPLE, &[arity as u8])
            && beam::items(term).all(|item| self.spell(item, depth + 1))
    }
}

fn hash(seed: u64, bytes: &[u8]) -> u64 {
    FixedState::with_seed(seed).hash_one(bytes)
}

/// A kept key as a term.
pub fn show<'a>(key: &Key<Bags>, terms: &Bags, env: Env<'a>) -> Term<'a> {
    match key {
        Key::Spelled(spelling) => Reader(spelling.bytes()).term(env),
        Key::Term(kept) => terms.show(kept, env),
    }
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn term<'a>(&mut self, env: Env<'a>) -> Term<'a> {
        match self.take::<1>()[0] {
            ATOM => beam::immediate(env, u64::from_le_bytes(self.take())),
            INTEGER => i64::from_le_bytes(self.take()).encode(env),
            BINARY => self.binary(env),
            _ => {
                let arity = usize::from(self.take::<1>()[0]);
                let items: Vec<Term<'a>> = (0..arity).map(|_| self.term(env)).collect();
                rustler::types::tuple::make_tuple(env, &items)
            }
        }
    }

    fn binary<'a>(&mut self, env: Env<'a>) -> Term<'a> {
        let len = usize::from(u16::from_le_bytes(self.take()));
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        let mut binary = rustler::NewBinary::new(env, len);
        binary.as_mut_slice().copy_from_slice(bytes);
        binary.into()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect("what was spelled reads back");
        self.0 = rest;
        *bytes
    }
}
