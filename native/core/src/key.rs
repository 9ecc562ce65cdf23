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
    /// The one spelling of the key.
    Spelled(Spelled<'a>),
    /// A key that has none.
    Term(T::Given),
}

/// A spelling as it is asked for. Apart from its first byte it may lie where the caller has it: what was just written together
/// is slow to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelled<'a> {
    pub head: u8,
    pub rest: &'a [u8],
}

impl<'a> Spelled<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        let (&head, rest) = bytes.split_first().expect("a spelling has a first byte");
        Self { head, rest }
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
            Form::Spelled(spelled) => Key::Spelled(Spelling::new(spelled)),
            Form::Term(given) => Key::Term(terms.keep(given)),
        }
    }

    #[inline]
    pub fn is(&self, form: Form<'_, T>, terms: &T) -> bool {
        match (self, form) {
            (Key::Spelled(mine), Form::Spelled(asked)) => mine.is(asked),
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
    pub fn new(Spelled { head, rest }: Spelled<'_>) -> Self {
        let len = 1 + rest.len();
        if len > SHORT {
            return Spelling::Long([&[head], rest].concat().into());
        }
        let mut bytes = [0; SHORT];
        bytes[0] = head;
        bytes[1..len].copy_from_slice(rest);
        Spelling::Short {
            len: len as u8,
            bytes,
        }
    }

    fn is(&self, Spelled { head, rest }: Spelled<'_>) -> bool {
        self.bytes().split_first() == Some((&head, rest))
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
