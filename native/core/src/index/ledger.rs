//! Counts the bytes of what grows and shrinks in many places, to the byte that was asked of the allocator.

#[derive(Debug, Default)]
pub(super) struct Ledger(usize);

impl Ledger {
    pub(super) fn bytes(&self) -> usize {
        self.0
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.0 += bytes;
    }

    pub(super) fn sub(&mut self, bytes: usize) {
        self.0 -= bytes;
    }

    /// Runs what may change the vector's capacity.
    pub(super) fn track<T>(&mut self, vec: &mut Vec<T>, change: impl FnOnce(&mut Vec<T>)) {
        self.sub(vec_bytes(vec));
        change(vec);
        self.add(vec_bytes(vec));
    }
}

pub(super) fn vec_bytes<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}
