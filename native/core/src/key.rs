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
    Spelled(&'a [u8]),
    /// A key that has none.
    Term(T::Given),
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
            Form::Spelled(bytes) => Key::Spelled(Spelling::new(bytes)),
            Form::Term(given) => Key::Term(terms.keep(given)),
        }
    }

    #[inline]
    pub fn is(&self, form: Form<'_, T>, terms: &T) -> bool {
        match (self, form) {
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
    pub fn new(spelled: &[u8]) -> Self {
        if spelled.len() > SHORT {
            return Spelling::Long(spelled.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..spelled.len()].copy_from_slice(spelled);
        Spelling::Short {
            len: spelled.len() as u8,
            bytes,
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
