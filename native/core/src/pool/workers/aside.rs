//! Workers that are there, and set aside: ejected, or not ready by a probe. They are given nothing new, unless so many are aside that
//! the pool panics and gives work to all that live. Decides nothing of that.

use super::{Worker, Workers};

/// Why a worker is set aside. One may be so for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    Ejected,
    /// A probe says that it is not ready.
    Shut,
}

impl<H> Worker<H> {
    pub fn is_ejected(&self) -> bool {
        self.ejected
    }

    pub fn is_shut(&self) -> bool {
        self.shut
    }

    #[inline]
    pub fn is_aside(&self) -> bool {
        self.ejected || self.shut
    }
}

impl<H> Workers<H> {
    /// Says whether a worker is aside for a reason. Whether it is ready is to be said again.
    pub fn set_aside(&mut self, at: u32, why: Aside, aside: bool) {
        let worker = self.get_mut(at);
        let before = worker.is_aside();
        match why {
            Aside::Ejected => worker.ejected = aside,
            Aside::Shut => worker.shut = aside,
        }
        if !worker.leaving {
            let after = worker.is_aside();
            self.aside = self.aside + usize::from(after) - usize::from(before);
        }
    }

    /// Whether a worker is given nothing new for being aside.
    #[inline]
    pub fn is_barred(&self, at: u32) -> bool {
        !self.panic && self.get(at).is_aside()
    }

    /// How many stay and are not aside.
    pub fn healthy(&self) -> usize {
        self.taking() - self.aside
    }

    /// How many are given work.
    pub fn serving(&self) -> usize {
        if self.panic { self.taking() } else { self.healthy() }
    }

    pub fn in_panic(&self) -> bool {
        self.panic
    }

    /// Who is aside takes work, or does not; whether each is ready is to be said again.
    pub fn set_panic(&mut self, panic: bool) {
        self.panic = panic;
    }

    /// What those have who are barred, and stay.
    pub fn ongoing_of_barred(&self) -> u64 {
        if self.aside == 0 || self.panic {
            return 0;
        }
        let barred = self
            .iter()
            .filter(|(_, worker)| worker.is_aside() && !worker.leaving);
        barred.map(|(_, worker)| u64::from(worker.ongoing)).sum()
    }
}
