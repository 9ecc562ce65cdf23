//! How a snapshot lies on disk: format byte, checksum, incarnation, revision, bytes.
//!
//! The checksum covers the key too, so that a value found under another key is seen to be wrong.

use std::fmt;

use crate::checksum::Crc32;

const FORMAT: u8 = 1;
const CHECKED_FROM: usize = 5;
const HEADER: usize = CHECKED_FROM + 16;

/// Orders the snapshots of one key: first by incarnation, then by revision within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    pub incarnation: u64,
    pub revision: u64,
}

impl Revision {
    /// Not older than any other: `delete` up to it removes whatever is there.
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);

    pub const fn new(incarnation: u64, revision: u64) -> Self {
        Self {
            incarnation,
            revision,
        }
    }
}

/// The last snapshot of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub revision: Revision,
    pub bytes: Vec<u8>,
}

/// How a stored value shows that it is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Shorter than its header.
    Short { bytes: usize },
    /// Of a format that this version does not know.
    Format { found: u8 },
    /// Its checksum does not fit.
    Checksum { expected: u32, found: u32 },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { bytes } => write!(f, "{bytes} bytes, less than its header has"),
            Self::Format { found } => write!(f, "format {found}, where this version knows {FORMAT}"),
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:08x} in place of {expected:08x}")
            }
        }
    }
}

pub(crate) fn encode(key: &[u8], revision: Revision, bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + bytes.len());
    record.push(FORMAT);
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&revision.incarnation.to_le_bytes());
    record.extend_from_slice(&revision.revision.to_le_bytes());
    record.extend_from_slice(bytes);
    let checksum = checksum(key, &record[CHECKED_FROM..]);
    record[1..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
    record
}

pub(crate) fn decode<'a>(key: &[u8], record: &'a [u8]) -> Result<(Revision, &'a [u8]), Damage> {
    let short = Damage::Short { bytes: record.len() };
    let (&[format, c0, c1, c2, c3], checked) = record.split_first_chunk().ok_or(short)?;
    if format != FORMAT {
        return Err(Damage::Format { found: format });
    }
    let (found, expected) = (u32::from_le_bytes([c0, c1, c2, c3]), checksum(key, checked));
    if found != expected {
        return Err(Damage::Checksum { expected, found });
    }
    let (incarnation, rest) = checked.split_first_chunk().ok_or(short)?;
    let (revision, bytes) = rest.split_first_chunk().ok_or(short)?;
    Ok((
        Revision::new(u64::from_le_bytes(*incarnation), u64::from_le_bytes(*revision)),
        bytes,
    ))
}

fn checksum(key: &[u8], checked: &[u8]) -> u32 {
    Crc32::new()
        .feed(&(key.len() as u64).to_le_bytes())
        .feed(key)
        .feed(checked)
        .value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn comes_back_as_it_was(key: Vec<u8>, incarnation: u64, revision: u64, bytes: Vec<u8>) {
            let revision = Revision::new(incarnation, revision);
            let record = encode(&key, revision, &bytes);
            prop_assert_eq!(decode(&key, &record), Ok((revision, &bytes[..])));
        }

        #[test]
        fn one_flipped_bit_is_found(bytes: Vec<u8>, at: prop::sample::Index, bit in 0..8_u8) {
            let mut record = encode(b"key", Revision::new(1, 2), &bytes);
            let at = at.index(record.len());
            record[at] ^= 1_u8 << bit;
            prop_assert!(decode(b"key", &record).is_err());
        }

        #[test]
        fn a_value_cut_short_is_found(bytes: Vec<u8>, keep: prop::sample::Index) {
            let record = encode(b"key", Revision::new(1, 2), &bytes);
            prop_assert!(decode(b"key", &record[..keep.index(record.len())]).is_err());
        }
    }

    #[test]
    fn a_value_under_another_key_is_found() {
        let record = encode(b"mine", Revision::new(1, 2), b"state");
        assert!(matches!(decode(b"thine", &record), Err(Damage::Checksum { .. })));
    }

    #[test]
    fn an_unknown_format_is_named() {
        let mut record = encode(b"key", Revision::new(1, 2), b"state");
        record[0] = 9;
        assert_eq!(decode(b"key", &record), Err(Damage::Format { found: 9 }));
    }

    #[test]
    fn incarnations_weigh_more_than_revisions() {
        assert!(Revision::new(2, 0) > Revision::new(1, u64::MAX));
        assert!(Revision::MAX >= Revision::new(u64::MAX, u64::MAX));
    }
}
