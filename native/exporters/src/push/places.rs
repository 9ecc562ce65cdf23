//! What a table that is kept from round to round takes.

/// The places of a table with room for so many, in bytes: it leaves one in eight free, and keeps a byte for each (hashbrown).
pub fn places<T>(capacity: usize) -> usize {
    capacity.div_ceil(7) * 8 * (size_of::<T>() + 1)
}
