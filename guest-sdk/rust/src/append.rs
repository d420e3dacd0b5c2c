//! Appending short byte strings to a buffer.
//!
//! A copy of unknown length is a `memory.copy` in WebAssembly, which the host
//! carries out by leaving compiled code: some 10 ns whatever the length. Keys,
//! field names and numbers are shorter than that is worth, so they are copied in
//! pieces of fixed length, which are plain loads and stores.

/// From this length on the copy as a whole is cheaper.
const LONG: usize = 128;

/// Appends `bytes` to `out`. Inlined, so that literals become plain stores.
#[inline(always)]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() >= LONG {
        return out.extend_from_slice(bytes);
    }
    out.reserve(bytes.len());
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        out.extend_from_slice(block);
    }
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        out.extend_from_slice(word);
    }
    for byte in rest {
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn bytes_of_every_length_arrive_as_they_are() {
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..=all.len() {
            let mut out = vec![9];
            append(&mut out, &all[..len]);
            assert_eq!((out[0], &out[1..]), (9, &all[..len]), "{len}");
        }
    }
}
