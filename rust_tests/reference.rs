//! The registry as a plain list: what each call is to answer, and what each watch is to be told.

use std::collections::BTreeSet;

use kantoku_core::index::{MAX_LOAD, Slot};
use kantoku_core::registry::{Describing, Displace, OwnedQuery, Registered, What};

use crate::world::{Event, Seen};

/// How many facets there are; a set of them is a mask.
pub const FACETS: usize = 6;

/// Facets all of which, one of each of which, and none of which an entry has.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub all: u8,
    pub any: Vec<u8>,
    pub none: u8,
}

impl Asked {
    pub fn fits(&self, facets: u8) -> bool {
        facets & self.all == self.all
            && self.any.iter().all(|group| facets & group != 0)
            && facets & self.none == 0
    }

    pub fn query(&self) -> OwnedQuery {
        OwnedQuery {
            all: facets(self.all),
            any: self.any.iter().map(|&group| facets(group)).collect(),
            none: facets(self.none),
        }
    }
}

/// The facets of a mask.
pub fn facets(mask: u8) -> Vec<Box<[u8]>> {
    (0..FACETS)
        .filter(|bit| mask >> bit & 1 == 1)
        .map(|bit| format!("facet {bit}").into_bytes().into_boxed_slice())
        .collect()
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub incarnation: u64,
    pub key: u64,
    pub pid: u64,
    pub value: u64,
    pub described: Option<Description>,
}

#[derive(Clone, Debug)]
pub struct Description {
    pub slot: Slot,
    pub version: u64,
    pub attributes: u64,
    pub facets: u8,
    pub load: u64,
}

impl Entry {
    pub fn seen(&self) -> Seen {
        let described = self.described.as_ref();
        Seen {
            incarnation: self.incarnation,
            key: self.key,
            pid: self.pid,
            value: self.value,
            attributes: described.map(|described| described.attributes),
            load: described.map_or(0, |described| described.load),
        }
    }

    fn fits(&self, asked: &Asked) -> bool {
        self.described
            .as_ref()
            .is_some_and(|described| asked.fits(described.facets))
    }
}

#[derive(Clone, Debug)]
pub struct Watch {
    pub id: u64,
    pub asked: Asked,
    /// What it was told of and did not hear the leave of.
    pub view: BTreeSet<u64>,
}

/// One opening.
#[derive(Debug)]
pub struct Reference {
    pub unique: bool,
    /// By incarnation.
    pub entries: Vec<Entry>,
    /// Whom the core watches.
    pub watched: BTreeSet<u64>,
    pub watches: Vec<Watch>,
    /// What was to be told since this was last emptied.
    pub told: Vec<Event>,
    latest: u64,
}

impl Reference {
    pub fn new(unique: bool, latest: u64) -> Self {
        Self {
            unique,
            entries: Vec::new(),
            watched: BTreeSet::new(),
            watches: Vec::new(),
            told: Vec::new(),
            latest,
        }
    }

    pub fn latest(&self) -> u64 {
        self.latest
    }

    pub fn holder(&self, key: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub fn of(&self, pid: u64) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.pid == pid)
    }

    pub fn holds_any(&self, pid: u64) -> bool {
        self.watched.contains(&pid) && self.of(pid).next().is_some()
    }

    /// Checks what registering answered against what it should, and takes it over.
    pub fn registered(
        &mut self,
        wanted: (u64, u64, u64),
        displace: Displace,
        alive: &dyn Fn(u64) -> bool,
        answer: Registered,
    ) {
        let (key, pid, value) = wanted;
        let holder = self.holder(key).filter(|_| self.unique).map(|entry| entry.pid);
        let taken = holder.filter(|&holder| displace != Displace::Holder(holder) && alive(holder));
        if let Some(holder) = taken {
            return assert_eq!(answer, Registered::Taken { pid: holder }, "R1");
        }
        if !self.watched.contains(&pid) && !alive(pid) {
            return assert_eq!(answer, Registered::Dead, "R5");
        }
        let Registered::Done { incarnation, first } = answer else {
            panic!("{pid} can have {key}, but: {answer:?}");
        };
        assert!(incarnation > self.latest, "R3: incarnations grow");
        assert_eq!(first, !self.holds_any(pid));
        self.latest = incarnation;
        self.watched.insert(pid);
        if holder.is_some() {
            self.remove_where(|entry| entry.key == key);
        }
        self.entries.push(Entry {
            incarnation,
            key,
            pid,
            value,
            described: None,
        });
    }

    /// Whether the process is to be told that it has nothing left.
    pub fn unregister(&mut self, key: u64, pid: u64, only: Option<&[u64]>) -> bool {
        // Among many holders the core asks the list of owners, and who died is not on it: the clean-up is on its way.
        let many = self.entries.iter().filter(|entry| entry.key == key).count() > 64;
        if many && !self.watched.contains(&pid) {
            return true;
        }
        let named = |entry: &Entry| only.is_none_or(|only| only.contains(&entry.incarnation));
        self.remove_where(|entry| entry.key == key && entry.pid == pid && named(entry));
        !self.holds_any(pid)
    }

    /// What a dead process held, if it was watched.
    pub fn forget(&mut self, pid: u64) -> Option<Vec<u64>> {
        self.watched
            .remove(&pid)
            .then(|| self.of(pid).map(|entry| entry.incarnation).collect())
    }

    pub fn clear(&mut self, incarnations: &[u64]) {
        for incarnation in incarnations {
            self.remove_where(|entry| entry.incarnation == *incarnation);
        }
    }

    fn remove_where(&mut self, is: impl Fn(&Entry) -> bool) {
        let (removed, kept) = std::mem::take(&mut self.entries)
            .into_iter()
            .partition(|entry| is(entry));
        self.entries = kept;
        let removed: Vec<Entry> = removed;
        for entry in removed {
            self.leave(&entry);
        }
    }

    fn leave(&mut self, entry: &Entry) {
        for watch in &mut self.watches {
            if watch.view.remove(&entry.incarnation) {
                self.told.push(Event {
                    watch: watch.id,
                    what: What::Leave,
                    seen: entry.seen(),
                });
            }
        }
    }

    pub fn put_value(&mut self, key: u64, incarnation: u64, pid: u64, value: u64) -> bool {
        let is =
            |entry: &&mut Entry| entry.incarnation == incarnation && entry.key == key && entry.pid == pid;
        let entry = self.entries.iter_mut().find(is);
        entry.map(|entry| entry.value = value).is_some()
    }

    /// Checks what describing answered, and takes it over.
    pub fn described(
        &mut self,
        wanted: (u64, u64),
        expected: u64,
        (attributes, facets): (u64, u8),
        alive: bool,
        answer: Describing,
    ) {
        let ((key, pid), unique) = (wanted, self.unique);
        let holds = |entry: &&mut Entry| entry.key == key;
        let entry = self.entries.iter_mut().find(holds);
        let Some(entry) = entry.filter(|entry| unique && entry.pid == pid && alive) else {
            return assert_eq!(answer, Describing::NotHeld);
        };
        let version = entry.described.as_ref().map_or(0, |described| described.version);
        if version != expected {
            return assert_eq!(answer, Describing::Stale { version });
        }
        let Describing::Done { version, slot } = answer else {
            panic!("version {expected} is the one, but: {answer:?}");
        };
        assert_eq!(version, expected + 1);
        let before = entry.described.as_ref();
        assert!(before.is_none_or(|before| before.slot == slot));
        let load = before.map_or(0, |before| before.load);
        entry.described = Some(Description {
            slot,
            version,
            attributes,
            facets,
            load,
        });
        let entry = entry.clone();
        self.changed(&entry);
    }

    fn changed(&mut self, entry: &Entry) {
        for watch in &mut self.watches {
            let what = match (watch.view.contains(&entry.incarnation), entry.fits(&watch.asked)) {
                (false, true) => What::Join,
                (true, true) => What::Change,
                (true, false) => What::Leave,
                (false, false) => continue,
            };
            match what {
                What::Leave => watch.view.remove(&entry.incarnation),
                _ => watch.view.insert(entry.incarnation),
            };
            self.told.push(Event {
                watch: watch.id,
                what,
                seen: entry.seen(),
            });
        }
    }

    pub fn with_slot(&mut self, slot: Slot) -> Option<&mut Description> {
        let mut described = self
            .entries
            .iter_mut()
            .filter_map(|entry| entry.described.as_mut());
        described.find(|described| described.slot == slot)
    }

    pub fn set_load(&mut self, slot: Slot, load: u64) -> bool {
        let described = self.with_slot(slot);
        described
            .map(|described| described.load = load.min(MAX_LOAD))
            .is_some()
    }

    pub fn add_load(&mut self, slot: Slot, delta: i64) -> Option<u64> {
        let described = self.with_slot(slot)?;
        described.load = described.load.saturating_add_signed(delta).min(MAX_LOAD);
        Some(described.load)
    }

    /// The live described entries that a query names.
    pub fn matching(&self, asked: &Asked, alive: &dyn Fn(u64) -> bool) -> Vec<&Entry> {
        let named = |entry: &&Entry| entry.fits(asked) && alive(entry.pid);
        self.entries.iter().filter(named).collect()
    }

    /// A new watch, and what it is answered.
    pub fn watch(&mut self, id: u64, asked: Asked, alive: &dyn Fn(u64) -> bool) -> Vec<Seen> {
        let now: Vec<Seen> = self
            .matching(&asked, alive)
            .iter()
            .map(|entry| entry.seen())
            .collect();
        let view = now.iter().map(|seen| seen.incarnation).collect();
        self.watches.push(Watch { id, asked, view });
        now
    }

    pub fn unwatch(&mut self, id: u64) -> bool {
        let before = self.watches.len();
        self.watches.retain(|watch| watch.id != id);
        self.watches.len() < before
    }
}
