//! What the core asks of a world's terms, whatever they are.

use std::fmt::Debug;

use crate::key::Short;

/// A place that keeps copies of terms. Each shard has one of its own and uses it under its own lock.
pub trait Terms: Debug + Default {
    /// A term in the caller's hands.
    type Given: Copy + Debug;
    /// A kept copy. Belongs to the place that kept it and goes back there with [`Terms::release`].
    type Kept: Debug;

    fn keep(&mut self, given: Self::Given) -> Self::Kept;

    /// As `keep`, for a term of which there are many like it.
    fn share(&mut self, given: Self::Given) -> Self::Kept {
        self.keep(given)
    }

    /// Whether the two are one term, as `===/2` says.
    fn same(&self, kept: &Self::Kept, given: Self::Given) -> bool;

    fn release(&mut self, kept: Self::Kept);

    /// The hash that every probe with this spelling has, in every place.
    fn hash(short: Short) -> u64;

    /// Native bytes held at this moment.
    fn bytes(&self) -> usize;
}
