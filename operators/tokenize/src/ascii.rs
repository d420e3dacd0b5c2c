//! The words of ASCII text, eight bytes at a time: a loop over single bytes looks
//! at the host's clock for each, and costs several times as much.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * ONES;

/// Calls `word` with each run of ASCII letters and digits. `text` must be ASCII:
/// other bytes are taken for something else.
pub(crate) fn each_word<'a>(text: &'a str, mut word: impl FnMut(&'a str)) {
    let bytes = text.as_bytes();
    // Where the word began that is being read.
    let mut start = None;
    let (blocks, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for (i, block) in blocks.iter().chain([&last]).enumerate() {
        let inside = letters_and_digits(u64::from_le_bytes(*block));
        // The bytes at which it changes whether one is in a word.
        let mut changes = inside ^ ((inside << 8) | if start.is_some() { 0x80 } else { 0 });
        while changes != 0 {
            let at = i * 8 + changes.trailing_zeros() as usize / 8;
            match start.take() {
                None => start = Some(at),
                Some(start) => word(&text[start..at]),
            }
            changes &= changes - 1;
        }
    }
    if let Some(start) = start {
        word(&text[start..]);
    }
}

/// The highest bit of each byte that is an ASCII letter or digit.
fn letters_and_digits(word: u64) -> u64 {
    // For bytes below 0x80, adding 0x80 - n sets the highest bit of those from n on.
    let from = |word: u64, n: u8| word + u64::from(0x80 - n) * ONES;
    let between = |word, first: u8, last: u8| from(word, first) & !from(word, last + 1);
    let ascii = word & !HIGH_BITS;
    let lower = ascii | (0x20 * ONES);
    (between(ascii, b'0', b'9') | between(lower, b'a', b'z')) & HIGH_BITS & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ascii_character_is_judged_as_rust_judges_it() {
        for byte in 0..0x80_u8 {
            let judged = letters_and_digits(u64::from(byte)) & 0x80 != 0;
            assert_eq!(judged, byte.is_ascii_alphanumeric(), "{byte}");
        }
    }

    #[test]
    fn words_end_and_begin_at_every_place_of_a_block() {
        for before in 0..10 {
            for (first, second) in (0..20).flat_map(|a| (0..20).map(move |b| (a, b))) {
                let text = [" ".repeat(before), "a".repeat(first), "-".into(), "Z".repeat(second)]
                    .concat();
                let mut words = Vec::new();
                each_word(&text, |word| words.push(word));
                let wanted: Vec<&str> = text.split([' ', '-']).filter(|w| !w.is_empty()).collect();
                assert_eq!(words, wanted, "{text:?}");
            }
        }
    }
}
