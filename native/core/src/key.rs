//! Keys, and how two of them are told to be one.
//!
//! Most keys are atoms, integers, binaries and small tuples of those. They have one spelling in bytes, and equal bytes
//! say equal keys. For all others bytes would lie (a closure, a float zero, a pid from before the node had its name
//! spell differently and are one key, or the reverse), so such a key is kept and compared as a term.

use std::fmt;

use crate::terms::Terms;

/// A key as a caller asks for it.
#[derive(Debug)]
pub struct Probe<'a, T: Terms> {
    pub hash: u64,
    pub form: Form<'a, T>,
}

#[derive(Debug)]
pub enum Form<'a, T: Terms> {
    /// The one spelling of the key, if it is short.
    Short(Short),
    /// The one spelling of a key for which that is too short.
    Spelled(&'a [u8]),
    /// A key that has none.
    Term(T::Given),
}

/// A spelling in words, so that it is compared and hashed without going through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    // Its first bytes, and zeros behind the last.
    start: u128,
    // How many they are, then the bytes behind those of the start.
    tail: u32,
}

const START: usize = size_of::<u128>();

impl Short {
    /// The most bytes of a short spelling; each has one at least.
    pub const LONGEST: usize = START + 3;

    /// A tail that none has.
    pub(crate) const LONGEST_TAIL: u32 = u32::MAX;

    /// `start` and `more` (three bytes) hold `len` bytes, at most [`Short::LONGEST`], and zeros behind them.
    #[inline(always)]
    pub fn new(start: u128, more: u32, len: usize) -> Self {
        debug_assert!((1..=Self::LONGEST).contains(&len));
        Self {
            start,
            tail: len as u32 | more << u8::BITS,
        }
    }

    pub fn of(bytes: &[u8]) -> Option<Self> {
        let len = bytes.len();
        if len == 0 || len > Self::LONGEST {
            return None;
        }
        let (mut start, mut more) = ([0; START], [0; size_of::<u32>()]);
        let first = len.min(START);
        start[..first].copy_from_slice(&bytes[..first]);
        more[..len - first].copy_from_slice(&bytes[first..]);
        Some(Self::new(
            u128::from_le_bytes(start),
            u32::from_le_bytes(more),
            len,
        ))
    }

    /// The spelling; from its first byte on, zeros behind its last.
    pub fn bytes(self) -> [u8; Self::LONGEST] {
        let mut bytes = [0; Self::LONGEST];
        let (start, more) = bytes.split_at_mut(START);
        start.copy_from_slice(&self.start.to_le_bytes());
        more.copy_from_slice(&self.tail.to_le_bytes()[1..]);
        bytes
    }

    /// How many bytes it has.
    pub fn count(self) -> usize {
        usize::from(self.tail as u8)
    }

    /// The start in two words.
    #[inline(always)]
    pub fn words(self) -> [u64; 2] {
        [self.start as u64, (self.start >> u64::BITS) as u64]
    }

    /// What is not in the two words; never 0.
    #[inline(always)]
    pub fn tail(self) -> u32 {
        self.tail
    }

    pub(crate) fn from_words([low, high]: [u64; 2], tail: u32) -> Self {
        Self {
            start: u128::from(high) << u64::BITS | u128::from(low),
            tail,
        }
    }
}

impl<T: Terms> Clone for Probe<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Terms> Copy for Probe<'_, T> {}

impl<T: Terms> Clone for Form<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Terms> Copy for Form<'_, T> {}

/// A key as it is kept.
#[derive(Debug)]
pub enum Key<T: Terms> {
    Spelled(Spelling),
    Term(T::Kept),
}

impl<T: Terms> Key<T> {
    pub fn keep(form: Form<'_, T>, terms: &mut T) -> Self {
        match form {
            Form::Short(short) => Key::Spelled(Spelling::new(&short.bytes()[..short.count()])),
            Form::Spelled(bytes) => Key::Spelled(Spelling::new(bytes)),
            Form::Term(given) => Key::Term(terms.keep(given)),
        }
    }

    #[inline]
    pub fn is(&self, form: Form<'_, T>, terms: &T) -> bool {
        match (self, form) {
            (Key::Spelled(mine), Form::Short(asked)) => *mine.bytes() == asked.bytes()[..asked.count()],
            (Key::Spelled(mine), Form::Spelled(asked)) => mine.bytes() == asked,
            (Key::Term(kept), Form::Term(given)) => terms.same(kept, given),
            _ => false,
        }
    }

    pub fn release(self, terms: &mut T) {
        if let Key::Term(kept) = self {
            terms.release(kept);
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Key::Spelled(Spelling::Long(bytes)) => bytes.len(),
            _ => 0,
        }
    }
}

const SHORT: usize = 30;

/// A key's bytes: the usual ones beside the entry, long ones on the heap.
pub enum Spelling {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Spelling {
    pub fn new(bytes: &[u8]) -> Self {
        if bytes.len() > SHORT {
            return Spelling::Long(bytes.into());
        }
        let mut kept = [0; SHORT];
        kept[..bytes.len()].copy_from_slice(bytes);
        Spelling::Short {
            len: bytes.len() as u8,
            bytes: kept,
        }
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Spelling::Short { len, bytes } => &bytes[..usize::from(*len)],
            Spelling::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Spelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spelling({:02x?})", self.bytes())
    }
}
