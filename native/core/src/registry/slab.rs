//! Rows at places that do not move, so that a scan in slices meets each row that stays exactly once.

#[derive(Debug)]
pub struct Slab<V> {
    places: Vec<Place<V>>,
    free: u32,
    len: usize,
}

#[derive(Debug)]
enum Place<V> {
    Taken(V),
    Free { next: u32 },
}

const NONE: u32 = u32::MAX;

/// Room for `len` values, and for a quarter more: doubling would leave half of it empty.
pub(super) fn make_room<T>(places: &mut Vec<T>, len: usize) {
    if len > places.capacity() {
        places.reserve_exact(len + len / 4 + 3 - places.len());
    }
}

impl<V> Default for Slab<V> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: NONE,
            len: 0,
        }
    }
}

impl<V> Slab<V> {
    pub fn insert(&mut self, value: V) -> u32 {
        self.len += 1;
        if self.free == NONE {
            let len = self.places.len() + 1;
            make_room(&mut self.places, len);
            self.places.push(Place::Taken(value));
            return self.places.len() as u32 - 1;
        }
        let at = self.free;
        let place = &mut self.places[at as usize];
        if let Place::Free { next } = *place {
            self.free = next;
        }
        *place = Place::Taken(value);
        at
    }

    pub fn remove(&mut self, at: u32) -> Option<V> {
        let place = self.places.get_mut(at as usize)?;
        match std::mem::replace(place, Place::Free { next: self.free }) {
            Place::Taken(value) => {
                self.free = at;
                self.len -= 1;
                self.give_back_if_empty();
                Some(value)
            }
            free => {
                *place = free;
                None
            }
        }
    }

    #[inline]
    pub fn get(&self, at: u32) -> Option<&V> {
        match self.places.get(at as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, at: u32) -> Option<&mut V> {
        match self.places.get_mut(at as usize) {
            Some(Place::Taken(value)) => Some(value),
            _ => None,
        }
    }

    /// Values from place `from` on, with their places.
    pub fn from(&self, from: usize) -> impl Iterator<Item = (usize, &V)> {
        self.places
            .iter()
            .enumerate()
            .skip(from)
            .filter_map(|(at, place)| match place {
                Place::Taken(value) => Some((at, value)),
                Place::Free { .. } => None,
            })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place<V>>()
    }

    // Memory of a burst goes back when nothing is left of it.
    fn give_back_if_empty(&mut self) {
        if self.len == 0 && self.places.capacity() > 64 {
            *self = Self::default();
        }
    }
}
