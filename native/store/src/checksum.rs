//! CRC-32 (the polynomial of IEEE 802.3, reflected), eight bytes at a step.
//!
//! It finds damage, not malice: a disk that answers other bytes than were written. Must not know what the bytes mean.

const POLYNOMIAL: u32 = 0xEDB8_8320;
const TABLES: [[u32; 256]; 8] = tables();

/// A checksum in the making; equal to one over all the bytes it was fed, however they were cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crc32(u32);

impl Crc32 {
    pub(crate) fn new() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn feed(self, bytes: &[u8]) -> Self {
        let mut state = self.0;
        let mut rest = bytes;
        while let Some((chunk, after)) = rest.split_first_chunk() {
            state = eight(state, *chunk);
            rest = after;
        }
        Self(rest.iter().fold(state, |state, byte| one(state, *byte)))
    }

    pub(crate) fn value(self) -> u32 {
        !self.0
    }
}

fn one(state: u32, byte: u8) -> u32 {
    TABLES[0][((state ^ u32::from(byte)) & 0xFF) as usize] ^ (state >> 8)
}

fn eight(state: u32, chunk: [u8; 8]) -> u32 {
    let word = u64::from_le_bytes(chunk) ^ u64::from(state);
    (0..8).fold(0, |sum, i| {
        sum ^ TABLES[7 - i][((word >> (8 * i)) & 0xFF) as usize]
    })
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut index = 0;
    while index < 256 {
        tables[0][index] = shifted(index as u32);
        index += 1;
    }
    let mut row = 1;
    while row < 8 {
        let mut index = 0;
        while index < 256 {
            let before = tables[row - 1][index];
            tables[row][index] = tables[0][(before & 0xFF) as usize] ^ (before >> 8);
            index += 1;
        }
        row += 1;
    }
    tables
}

const fn shifted(index: u32) -> u32 {
    let mut value = index;
    let mut bit = 0;
    while bit < 8 {
        value = if value & 1 == 1 {
            POLYNOMIAL ^ (value >> 1)
        } else {
            value >> 1
        };
        bit += 1;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bit_by_bit(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |state, byte| {
            shifted((state ^ u32::from(*byte)) & 0xFF) ^ (state >> 8)
        })
    }

    #[test]
    fn gives_the_check_value_of_the_catalogue() {
        assert_eq!(Crc32::new().feed(b"123456789").value(), 0xCBF4_3926);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equals_the_slow_definition_however_the_bytes_are_cut(bytes: Vec<u8>, cut: prop::sample::Index) {
            let (head, tail) = bytes.split_at(cut.index(bytes.len() + 1));
            prop_assert_eq!(Crc32::new().feed(head).feed(tail).value(), bit_by_bit(&bytes));
        }
    }
}
