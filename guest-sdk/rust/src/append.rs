//! Appending short byte strings to a buffer.
//!
//! A copy of unknown length is a `memory.copy` in WebAssembly, which the host
//! carries out by leaving compiled code: some 10 ns whatever the length. And a
//! loop looks at the host's clock in every round. Keys, field names and numbers
//! are shorter than either is worth, so they are copied in pieces of fixed
//! length, which are plain loads and stores: one from the beginning and one up
//! to the end, which overlap in the middle.

/// From this length on the copy as a whole is cheaper.
const LONG: usize = 256;

/// Appends `bytes` to `out`. Inlined, so that literals become plain stores.
#[inline(always)]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0 => {}
        1..4 => append_few(out, bytes),
        4..8 => append_ends::<4, 8>(out, bytes),
        8..16 => append_ends::<8, 16>(out, bytes),
        16..=32 => append_ends::<16, 32>(out, bytes),
        33..LONG => append_blocks(out, bytes),
        _ => out.extend_from_slice(bytes),
    }
}

/// One to three bytes.
#[inline(always)]
fn append_few(out: &mut Vec<u8>, bytes: &[u8]) {
    let (len, end) = (bytes.len(), out.len() + bytes.len());
    out.extend_from_slice(&[bytes[0], bytes[len / 2], bytes[len - 1]]);
    out.truncate(end);
}

/// `N` to `2 * N` bytes (`M`).
#[inline(always)]
fn append_ends<const N: usize, const M: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = out.len() + bytes.len();
    let both: [u8; M] = ends::<N, M>(bytes);
    out.extend_from_slice(&both);
    out[end - N..end].copy_from_slice(&both[N..]);
    out.truncate(end);
}

/// The first and the last `N` of `N` to `2 * N` bytes (`M`).
#[inline(always)]
pub(crate) fn ends<const N: usize, const M: usize>(bytes: &[u8]) -> [u8; M] {
    let mut both = [0; M];
    both[..N].copy_from_slice(&bytes[..N]);
    both[N..].copy_from_slice(&bytes[bytes.len() - N..]);
    both
}

fn append_blocks(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = out.len() + bytes.len();
    out.reserve(bytes.len() + 16);
    for block in bytes.as_chunks::<16>().0 {
        out.extend_from_slice(block);
    }
    if let Some(last) = bytes.last_chunk::<16>() {
        out.extend_from_slice(last);
        out[end - 16..end].copy_from_slice(last);
        out.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn bytes_of_every_length_arrive_as_they_are() {
        let all: Vec<u8> = (0..=255).chain(0..=255).collect();
        for len in 0..=all.len() {
            let mut out = vec![9];
            append(&mut out, &all[..len]);
            assert_eq!((out[0], &out[1..]), (9, &all[..len]), "{len}");
        }
    }
}
