//! The sealed sequence word: one word, written last, that says which record a slot holds *and*
//! that the rest of the slot belongs to it.
//!
//! A seal is the sequence number XORed with a mix of the content. Whoever reads takes the mix of
//! what he read off the seal; if the number that comes out is not the one that the slot must hold,
//! the record is torn or damaged. Each step is a bijection of each word, so damage to any *one*
//! word of a record, content or seal, always shows; damage to several cancels out by accident
//! once in 2⁶⁴. It guards against tears and rot, never against forgery.

/// Keeps a slot of zeros from passing as record 0.
const SALT: u64 = 0x6e67_2d62_6c61_636b;
/// 2⁶⁴ divided by the golden ratio, made odd (Knuth, TAOCP 3, 6.4).
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
/// The second prime of xxHash64.
const SECOND: u64 = 0xc2b2_ae3d_27d4_eb4f;
/// The third prime of xxHash64.
const THIRD: u64 = 0x1656_67b1_9e37_79f9;

/// Seals a 32-byte record; taken off again by calling it with the seal as `sequence`.
#[inline(always)]
pub(crate) const fn record(sequence: u64, a: u64, b: u64, meta: u64) -> u64 {
    sequence
        ^ SALT
        ^ a.wrapping_mul(FIRST)
        ^ b.wrapping_mul(SECOND).rotate_left(32)
        ^ meta.wrapping_mul(THIRD)
}

/// Seals any number of words; taken off again by calling it with the seal as `sequence`.
#[inline]
pub(crate) fn words(sequence: u64, words: impl IntoIterator<Item = u64>) -> u64 {
    let mut mix = SALT;
    for word in words {
        mix = (mix ^ word).wrapping_mul(FIRST);
        mix ^= mix >> 32;
    }
    sequence ^ mix
}

/// The checksum of the fixed header: FNV-1a, 64 bits.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_seal_gives_its_number_back(sequence: u64, a: u64, b: u64, meta: u64) {
            prop_assert_eq!(record(record(sequence, a, b, meta), a, b, meta), sequence);
            prop_assert_eq!(words(words(sequence, [a, b, meta]), [a, b, meta]), sequence);
        }

        #[test]
        fn damage_to_one_word_always_shows(
            sequence: u64, content: [u64; 3], at in 0usize..3, change in 1u64..
        ) {
            let [a, b, meta] = content;
            let (short, long) = (record(sequence, a, b, meta), words(sequence, content));
            let mut damaged = content;
            damaged[at] ^= change;
            let [a, b, meta] = damaged;
            prop_assert_ne!(record(short, a, b, meta), sequence);
            prop_assert_ne!(words(long, damaged), sequence);
        }
    }

    #[test]
    fn a_slot_of_zeros_is_not_record_zero() {
        assert_ne!(record(0, 0, 0, 0), 0);
        assert_ne!(words(0, [0]), 0);
    }
}
