//! The one spelling of a key, where it has one (see `kantoku_core::key`), and back.
//!
//! An atom is spelled by its word, which is its own for the life of the VM. Two keys are `===` exactly when their spellings
//! are equal; a key without one is compared as a term.

use foldhash::fast::FixedState;
use kantoku_core::key::{Form, Key, Probe, Spelled};
use rustler::sys::{self, ErlNifHash};
use rustler::{Binary, Encoder, Env, Term, TermType};
use std::hash::{BuildHasher, Hasher};
use std::mem::MaybeUninit;

use crate::atoms;
use crate::beam;
use crate::terms::{Bags, Raw};

const LONGEST: usize = 320;
const DEEPEST: u32 = 4;
const LONGEST_TENANT: usize = 255;
const LARGEST_TENANT: i64 = 1 << 59;

const ATOM: u8 = 1;
const INTEGER: u8 = 2;
const BINARY: u8 = 3;
const TUPLE: u8 = 4;

// The kind of a part, in the low bits of the byte it begins with. Above: how many bytes its number has, or the number itself.
const KIND: u8 = 7;
const HEAD: usize = 1 + size_of::<u64>();
const FIRST_SMALL: u64 = HEAD as u64;
const SMALL: u64 = (1 << (u8::BITS - KIND.count_ones())) - FIRST_SMALL;

/// The spelling of a tenant, of whom most requests have none: `nil` is spelled by nothing.
#[inline]
pub fn tenant<'r>(room: &'r mut Room, term: Term<'_>) -> Option<&'r [u8]> {
    if beam::word(term.as_c_arg()) == beam::word(atoms::nil().as_c_arg()) {
        return Some(&[]);
    }
    let plain = match term.get_type() {
        TermType::Atom => true,
        TermType::Integer => term
            .decode::<i64>()
            .is_ok_and(|integer| (-LARGEST_TENANT..LARGEST_TENANT).contains(&integer)),
        TermType::Binary => Binary::from_term(term).is_ok_and(|binary| binary.len() <= LONGEST_TENANT),
        _ => false,
    };
    if plain { room.spelling(term) } else { None }
}

/// Where a caller's key is spelled. Made where it stays, as to move it would cost more than to spell most keys.
pub struct Room {
    // Written up to `len`, and a little beyond. Left as it lies: to clear it would cost as much.
    bytes: [MaybeUninit<u8>; LONGEST + HEAD],
    len: usize,
}

impl Room {
    #[inline(always)]
    pub fn new() -> Self {
        Room {
            bytes: [const { MaybeUninit::uninit() }; LONGEST + HEAD],
            len: 0,
        }
    }

    /// How to look the key up: spelled if it can be. A short binary is, where it lies.
    #[inline]
    pub fn probe<'r, 'a: 'r>(&'r mut self, term: Term<'a>, seed: u64) -> Probe<'r, Bags> {
        self.len = 0;
        let mut hasher = hasher(seed);
        let spelled = if let Some(spelled) = short_binary(term) {
            hasher.write_u64(part(BINARY, spelled.rest.len() as u64));
            hasher.write(spelled.rest);
            spelled
        } else if self.spell(term, 0, &mut hasher) {
            Spelled::of(self.written())
        } else {
            return as_term(term, seed);
        };
        Probe {
            hash: hasher.finish(),
            form: Form::Spelled(spelled),
        }
    }

    /// The one spelling of a term, if it has one.
    #[inline]
    pub fn spelling(&mut self, term: Term<'_>) -> Option<&[u8]> {
        self.len = 0;
        self.spell(term, 0, &mut hasher(0)).then(|| self.written())
    }

    // What is hashed comes from where it was, and not from what was just written.
    fn spell(&mut self, term: Term<'_>, depth: u32, hasher: &mut Hash) -> bool {
        match term.get_type() {
            TermType::Binary => {
                Binary::from_term(term).is_ok_and(|binary| self.add_binary(binary.as_slice(), hasher))
            }
            TermType::Atom => self.add(ATOM, beam::word(term.as_c_arg()), hasher),
            TermType::Integer => term
                .decode::<i64>()
                .is_ok_and(|integer| self.add(INTEGER, folded(integer), hasher)),
            TermType::Tuple if depth < DEEPEST => self.add_tuple(term, depth, hasher),
            _ => false,
        }
    }

    // In as few bytes as the number has, so that the usual keys fit beside their holder. All eight are written, and those
    // that are none of it are written over.
    #[inline]
    fn add(&mut self, kind: u8, number: u64, hasher: &mut Hash) -> bool {
        hasher.write_u64(part(kind, number));
        let Some(place) = self.bytes.get_mut(self.len..self.len + HEAD) else {
            return false;
        };
        if let Some(byte) = small(kind, number) {
            place[0].write(byte);
            self.len += 1;
            return self.len <= LONGEST;
        }
        let count = (u64::BITS - number.leading_zeros()).div_ceil(8) as usize;
        place[0].write(kind | (count as u8) << KIND.count_ones());
        place[1..].copy_from_slice(&number.to_le_bytes().map(MaybeUninit::new));
        self.len += 1 + count;
        self.len <= LONGEST
    }

    fn add_binary(&mut self, binary: &[u8], hasher: &mut Hash) -> bool {
        let added = self.add(BINARY, binary.len() as u64, hasher) && self.write(binary);
        hasher.write(binary);
        added
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        if end > LONGEST {
            return false;
        }
        // SAFETY: a byte that is there is also one that may be there.
        let bytes = unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) };
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        true
    }

    #[inline]
    fn written(&self) -> &[u8] {
        // SAFETY: `add` and `write` have written all up to `len`.
        unsafe { &*(std::ptr::from_ref(&self.bytes[..self.len]) as *const [u8]) }
    }

    fn add_tuple(&mut self, term: Term<'_>, depth: u32, hasher: &mut Hash) -> bool {
        let mut items = beam::items(term);
        let arity = items.len();
        arity < 32
            && self.add(TUPLE, arity as u64, hasher)
            && items.all(|item| self.spell(item, depth + 1, hasher))
    }
}

#[inline]
fn short_binary(term: Term<'_>) -> Option<Spelled<'_>> {
    if !beam::is_boxed(term) {
        return None;
    }
    let rest = Binary::from_term(term).ok()?.as_slice();
    let head = small(BINARY, rest.len() as u64)?;
    Some(Spelled { head, rest })
}

// The byte of a part whose number is small.
#[inline]
fn small(kind: u8, number: u64) -> Option<u8> {
    (number < SMALL).then(|| kind | ((number + FIRST_SMALL) as u8) << KIND.count_ones())
}

// The VM's own hash goes with `===`, but has 32 bits only.
fn as_term<'r>(term: Term<'_>, seed: u64) -> Probe<'r, Bags> {
    // SAFETY: the term is of the running call.
    let own = unsafe { sys::enif_hash(ErlNifHash::ERL_NIF_INTERNAL_HASH, term.as_c_arg(), seed >> 32) };
    let mut hasher = hasher(seed);
    hasher.write_u64(own);
    Probe {
        hash: hasher.finish(),
        form: Form::Term(Raw::of(term)),
    }
}

// Integers near zero have few bytes, on either side of it.
fn folded(integer: i64) -> u64 {
    (integer << 1 ^ integer >> (i64::BITS - 1)) as u64
}

fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

type Hash = foldhash::fast::FoldHasher<'static>;

#[inline]
fn hasher(seed: u64) -> Hash {
    FixedState::with_seed(seed).build_hasher()
}

// What a part's number is hashed as.
#[inline]
fn part(kind: u8, number: u64) -> u64 {
    number << KIND.count_ones() ^ u64::from(kind)
}

/// The hash of a spelling: part by part, so that it is the same for who has the key as a term.
pub fn hash(seed: u64, Spelled { head, rest }: Spelled<'_>) -> u64 {
    let mut hasher = hasher(seed);
    let mut reader = Reader(rest);
    let (mut kind, mut number) = reader.head_from(head);
    loop {
        hasher.write_u64(part(kind, number));
        if kind == BINARY {
            hasher.write(reader.take(number as usize));
        }
        if reader.0.is_empty() {
            return hasher.finish();
        }
        (kind, number) = reader.head();
    }
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
        let (kind, number) = self.head();
        match kind {
            ATOM => beam::immediate(env, number),
            INTEGER => unfolded(number).encode(env),
            BINARY => binary(env, self.take(number as usize)),
            _ => {
                let items: Vec<Term<'a>> = (0..number).map(|_| self.term(env)).collect();
                rustler::types::tuple::make_tuple(env, &items)
            }
        }
    }

    fn head(&mut self) -> (u8, u64) {
        let first = self.take(1)[0];
        self.head_from(first)
    }

    fn head_from(&mut self, first: u8) -> (u8, u64) {
        let mut number = [0; size_of::<u64>()];
        let count = usize::from(first >> KIND.count_ones());
        if count as u64 >= FIRST_SMALL {
            return (first & KIND, count as u64 - FIRST_SMALL);
        }
        number[..count].copy_from_slice(self.take(count));
        (first & KIND, u64::from_le_bytes(number))
    }

    fn take(&mut self, count: usize) -> &'b [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }
}

fn binary<'a>(env: Env<'a>, bytes: &[u8]) -> Term<'a> {
    let mut binary = rustler::NewBinary::new(env, bytes.len());
    binary.as_mut_slice().copy_from_slice(bytes);
    binary.into()
}
