//! What is to happen to one key, and how two such things become one.
//!
//! A change is, in this order: a damaged value is set aside, what is not newer than `cleared` is removed, `put` is
//! written unless something newer is there. Any sequence of calls for a key has this form, so that a batch holds one
//! change a key however often the key was written. Must not know of queues or disks.

use std::sync::Arc;

use crate::record::Revision;

#[derive(Debug, Clone)]
pub(crate) struct Put {
    pub(crate) revision: Revision,
    /// As it goes to disk, header and all.
    pub(crate) record: Arc<Vec<u8>>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) cleared: Option<Revision>,
    pub(crate) put: Option<Put>,
    /// Survives a failed commit, because someone was told that it is accepted and need not ask again.
    pub(crate) keep: bool,
}

/// What a change does to the value that is there.
#[derive(Debug)]
pub(crate) enum Effect<'a> {
    Leave,
    Remove,
    Write(&'a Put),
}

impl Change {
    pub(crate) fn put(put: Put, keep: bool) -> Self {
        Self {
            put: Some(put),
            keep,
            ..Self::default()
        }
    }

    pub(crate) fn clear(up_to: Revision, keep: bool) -> Self {
        Self {
            cleared: Some(up_to),
            keep,
            ..Self::default()
        }
    }

    /// Sets a damaged value aside, as every change does, and nothing else.
    pub(crate) fn set_aside() -> Self {
        Self {
            keep: true,
            ..Self::default()
        }
    }

    /// This change and then `later`, as one.
    pub(crate) fn then(self, later: Self) -> Self {
        let before = self
            .put
            .filter(|put| later.cleared.is_none_or(|up_to| put.revision > up_to));
        Self {
            cleared: self.cleared.max(later.cleared),
            put: newer(before, later.put),
            keep: self.keep || later.keep,
        }
    }

    /// Given the revision of the healthy value that is there.
    pub(crate) fn on(&self, stored: Option<Revision>) -> Effect<'_> {
        let standing = stored.filter(|stored| self.cleared.is_none_or(|up_to| *stored > up_to));
        match &self.put {
            Some(put) if standing.is_none_or(|standing| put.revision >= standing) => Effect::Write(put),
            _ if standing == stored => Effect::Leave,
            _ => Effect::Remove,
        }
    }

    pub(crate) fn put_revision(&self) -> Option<Revision> {
        self.put.as_ref().map(|put| put.revision)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.put.as_ref().map_or(0, |put| put.record.len())
    }
}

/// The later of two equal ones: a repeated write may carry what the first could not.
fn newer(before: Option<Put>, after: Option<Put>) -> Option<Put> {
    match (before, after) {
        (Some(before), Some(after)) if before.revision > after.revision => Some(before),
        (before, after) => after.or(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Value = Option<(Revision, u8)>;

    fn revision() -> impl Strategy<Value = Revision> {
        (0..3_u64, 0..4_u64).prop_map(|(incarnation, revision)| Revision::new(incarnation, revision))
    }

    fn change() -> impl Strategy<Value = Change> {
        let put = (revision(), any::<u8>()).prop_map(|(revision, byte)| {
            Change::put(
                Put {
                    revision,
                    record: Arc::new(vec![byte]),
                },
                false,
            )
        });
        prop_oneof![2 => put, 1 => revision().prop_map(|up_to| Change::clear(up_to, false)), 1 => Just(Change::set_aside())]
    }

    fn apply(value: Value, change: &Change) -> Value {
        match change.on(value.map(|(revision, _)| revision)) {
            Effect::Leave => value,
            Effect::Remove => None,
            Effect::Write(put) => Some((put.revision, put.record[0])),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn many_changes_made_one_do_what_they_did_one_by_one(
            stored in prop::option::of((revision(), any::<u8>())),
            changes in prop::collection::vec(change(), 1..8),
        ) {
            let one_by_one = changes.iter().fold(stored, apply);
            let as_one = changes.into_iter().reduce(Change::then).expect("at least one was generated");
            prop_assert_eq!(apply(stored, &as_one), one_by_one);
        }
    }
}
