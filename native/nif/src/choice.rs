//! Terms that say which of a few things is meant.

use rustler::{Atom, Term};

use crate::beam;
use crate::guard::Refusal;

/// An atom's word is no other term's.
#[inline]
pub fn is(term: Term<'_>, name: Atom) -> bool {
    beam::word(term.as_c_arg()) == beam::word(name.as_c_arg())
}

pub fn one_of<V: Copy>(term: Term<'_>, known: &[(Atom, V)]) -> Result<V, Refusal> {
    known
        .iter()
        .find(|(name, _)| is(term, *name))
        .map(|&(_, value)| value)
        .ok_or(Refusal::BadArgument)
}
