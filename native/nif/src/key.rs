//! The one spelling of a key, where it has one (see `kantoku_core::key`), and back.
//!
//! An atom is spelled by its number, which is its own for the life of the VM. Two keys are `===` exactly when their spellings
//! are equal; a key without one is compared as a term.

use foldhash::fast::FixedState;
use kantoku_core::key::{Form, Key, Probe, Short};
use rustler::sys::{self, ErlNifHash};
use rustler::{Binary, Encoder, Env, Term, TermType};
use std::hash::{BuildHasher, Hasher};
use std::mem::MaybeUninit;

use crate::atoms;
use crate::beam;
use crate::terms::{Bags, Raw};

const LONGEST: usize = 320;
const DEEPEST: u32 = 4;
const WIDEST: usize = 32;
const LONGEST_TENANT: usize = 255;
const LARGEST_TENANT: i64 = 1 << 59;

const ATOM: u8 = 1;
const INTEGER: u8 = 2;
const BINARY: u8 = 3;
const TUPLE: u8 = 4;

// The kind of a part, in the low bits of the byte it begins with. Above: how many bytes its number has, or the number itself.
const KIND: u8 = 7;
const WORD: usize = size_of::<u64>();
const FIRST_SMALL: u64 = WORD as u64 + 1;
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

/// Where a long spelling is written. Made where it stays, as to move it would cost more than to spell most keys.
pub struct Room {
    // Written up to `len`, and a little beyond. Left as it lies: to clear it would cost as much.
    bytes: [MaybeUninit<u8>; LONGEST + WORD],
    len: usize,
}

impl Room {
    #[inline(always)]
    pub fn new() -> Self {
        Room {
            bytes: [const { MaybeUninit::uninit() }; LONGEST + WORD],
            len: 0,
        }
    }

    /// How to look the key up: spelled if it can be.
    #[inline(always)]
    pub fn probe<'r, 'a: 'r>(&'r mut self, term: Term<'a>, seed: u64) -> Probe<'r, Bags> {
        match spell(Words::default(), term) {
            Ok(words) => {
                let short = words.short();
                Probe {
                    hash: hash(seed, short),
                    form: Form::Short(short),
                }
            }
            Err(Unspelled::TooLong) => self.long_probe(term, seed),
            Err(Unspelled::Never) => as_term(term, seed),
        }
    }

    #[inline(never)]
    fn long_probe<'r, 'a: 'r>(&'r mut self, term: Term<'a>, seed: u64) -> Probe<'r, Bags> {
        let Some(written) = self.spelling(term) else {
            return as_term(term, seed);
        };
        let mut hasher = hasher(seed);
        hasher.write(written);
        Probe {
            hash: hasher.finish(),
            form: Form::Spelled(written),
        }
    }

    /// The one spelling of a term, if it has one.
    #[inline]
    pub fn spelling(&mut self, term: Term<'_>) -> Option<&[u8]> {
        self.len = 0;
        spell(&mut *self, term).ok().map(|room| room.written())
    }

    #[inline]
    fn written(&self) -> &[u8] {
        // SAFETY: `push` has written all up to `len`.
        unsafe { &*(std::ptr::from_ref(&self.bytes[..self.len]) as *const [u8]) }
    }
}

impl Spelling for &mut Room {
    #[inline]
    fn push(self, word: u64, count: usize) -> Spelled<Self> {
        let place = self.bytes.get_mut(self.len..self.len + WORD).ok_or(TOO_LONG)?;
        place.copy_from_slice(&word.to_le_bytes().map(MaybeUninit::new));
        self.len += count;
        if self.len <= LONGEST {
            Ok(self)
        } else {
            Err(TOO_LONG)
        }
    }

    #[inline]
    fn push_bytes(self, bytes: &[u8]) -> Spelled<Self> {
        let end = self.len + bytes.len();
        if end > LONGEST {
            return Err(TOO_LONG);
        }
        // SAFETY: a byte that is there is also one that may be there.
        let bytes = unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) };
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Ok(self)
    }
}

// A spelling that stays in registers: what was just written in pieces is slow to read as a whole.
#[derive(Default)]
struct Words {
    start: u128,
    more: u32,
    len: usize,
}

const START: usize = size_of::<u128>();

impl Words {
    #[inline(always)]
    fn put(mut self, bytes: u128, count: usize) -> Spelled<Self> {
        let at = self.len;
        self.len += count;
        if self.len > Short::LONGEST {
            return Err(TOO_LONG);
        }
        if self.len <= START {
            self.start |= bytes.checked_shl(8 * at as u32).unwrap_or(0);
        } else if at < START {
            self.start |= bytes << (8 * at);
            self.more |= (bytes >> (8 * (START - at))) as u32;
        } else {
            self.more |= (bytes as u32) << (8 * (at - START));
        }
        Ok(self)
    }

    #[inline(always)]
    fn short(self) -> Short {
        Short::new(self.start, self.more, self.len)
    }
}

impl Spelling for Words {
    #[inline(always)]
    fn push(self, word: u64, count: usize) -> Spelled<Self> {
        self.put(u128::from(word), count)
    }

    #[inline(always)]
    fn push_bytes(self, bytes: &[u8]) -> Spelled<Self> {
        if bytes.len() > START {
            return Err(TOO_LONG);
        }
        self.put(overlapped(bytes), bytes.len())
    }
}

// At most sixteen bytes, by loads that may overlap: byte by byte would be slow.
#[inline(always)]
fn overlapped(bytes: &[u8]) -> u128 {
    const HALF: usize = size_of::<u32>();
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk::<WORD>(), bytes.last_chunk::<WORD>()) {
        let last = u128::from(u64::from_le_bytes(*last)) << (8 * (len - WORD));
        return u128::from(u64::from_le_bytes(*first)) | last;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<HALF>(), bytes.last_chunk::<HALF>()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (len - HALF));
        return u128::from(u64::from(u32::from_le_bytes(*first)) | last);
    }
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| word << 8 | u128::from(byte))
}

/// Takes a spelling as it comes, and is handed on: what others could point at would have to lie in memory.
trait Spelling: Sized {
    /// The lowest `count` bytes of a word, one to eight, whose others are zero.
    fn push(self, word: u64, count: usize) -> Spelled<Self>;

    fn push_bytes(self, bytes: &[u8]) -> Spelled<Self>;
}

// Why a term was not spelled.
enum Unspelled {
    // There is no room for it.
    TooLong,
    // It has no spelling.
    Never,
}

const TOO_LONG: Unspelled = Unspelled::TooLong;

type Spelled<S> = Result<S, Unspelled>;

#[inline(always)]
fn spell<S: Spelling>(into: S, term: Term<'_>) -> Spelled<S> {
    if beam::is_boxed(term) {
        let items = beam::items(term);
        if items.len() > 0 {
            return spell_tuple(into, items, 0);
        }
    }
    spell_part(into, term, 0)
}

#[inline(always)]
fn spell_part<S: Spelling>(into: S, term: Term<'_>, depth: u32) -> Spelled<S> {
    if let Some(atom) = beam::atom_number(term) {
        return push_number(into, ATOM, atom);
    }
    if let Some(integer) = beam::small(term) {
        return push_number(into, INTEGER, folded(integer));
    }
    if !beam::is_boxed(term) {
        return Err(Unspelled::Never);
    }
    match beam::bytes(&term) {
        Some(bytes) => push_number(into, BINARY, bytes.len() as u64)?.push_bytes(bytes),
        None => spell_rare(into, term, depth),
    }
}

// A tuple in a tuple, or an integer that has no room in a word.
#[inline(never)]
fn spell_rare<S: Spelling>(into: S, term: Term<'_>, depth: u32) -> Spelled<S> {
    match term.get_type() {
        TermType::Integer => {
            let integer: i64 = term.decode().map_err(|_| Unspelled::Never)?;
            push_number(into, INTEGER, folded(integer))
        }
        TermType::Tuple => spell_tuple(into, beam::items(term), depth),
        _ => Err(Unspelled::Never),
    }
}

#[inline(always)]
fn spell_tuple<'a, S: Spelling>(
    into: S,
    items: impl ExactSizeIterator<Item = Term<'a>>,
    depth: u32,
) -> Spelled<S> {
    let arity = items.len();
    if arity >= WIDEST || depth >= DEEPEST {
        return Err(Unspelled::Never);
    }
    let mut into = push_number(into, TUPLE, arity as u64)?;
    for item in items {
        into = spell_part(into, item, depth + 1)?;
    }
    Ok(into)
}

// In as few bytes as the number has, so that the usual keys fit beside their holder.
#[inline(always)]
fn push_number<S: Spelling>(into: S, kind: u8, number: u64) -> Spelled<S> {
    if let Some(byte) = small(kind, number) {
        return into.push(u64::from(byte), 1);
    }
    let count = (u64::BITS - number.leading_zeros()).div_ceil(8) as usize;
    let head = kind | (count as u8) << KIND.count_ones();
    if count < WORD {
        return into.push(number << 8 | u64::from(head), 1 + count);
    }
    into.push(u64::from(head), 1)?.push(number, count)
}

// The byte of a part whose number is small.
#[inline(always)]
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

#[inline(always)]
fn hasher(seed: u64) -> Hash {
    FixedState::with_seed(seed).build_hasher()
}

/// The hash of a short spelling.
#[inline(always)]
pub fn hash(seed: u64, short: Short) -> u64 {
    let mut hasher = hasher(seed);
    let [low, high] = short.words();
    hasher.write_u64(low);
    hasher.write_u64(high);
    hasher.write_u32(short.tail());
    hasher.finish()
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
            ATOM => beam::numbered_atom(env, number),
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
