//! How an input becomes another: a few small changes, most of them to numbers
//! of 32 bits, since that is what offsets, pointers and lengths are.

use rand::{Rng, RngExt as _};

/// Numbers at which things go wrong. The later ones are addresses in an answer.
const NUMBERS: [u32; 20] = [
    0,
    1,
    2,
    4,
    5,
    6,
    0x7f,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    0x10_0000,
    0x0fff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fff0,
    0xffff_ffff,
    1024,
    1028,
    1100,
];

/// The longest input.
const LONGEST: usize = 60 * 1024;

/// Changes an input a little, perhaps with parts of another.
pub(crate) fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    // One change most often, so that what was valid stays almost valid.
    let changes = 1 << rng.random_range(0..3_u32);
    for _ in 0..rng.random_range(1..=changes) {
        change(input, other, rng);
    }
    input.truncate(LONGEST);
}

fn change(input: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    if input.is_empty() {
        input.push(rng.random());
        return;
    }
    let at = rng.random_range(0..input.len());
    match rng.random_range(0..12) {
        0 => input[at] ^= 1 << rng.random_range(0..8_u32),
        1 | 2 => input[at] = rng.random(),
        3 => input[at] = input[at].wrapping_add(rng.random_range(0..9_u8)).wrapping_sub(4),
        4 | 5 => put(input, at, NUMBERS[rng.random_range(0..NUMBERS.len())]),
        6 => put(input, at, rng.random_range(0..2_000_u32)),
        7 => {
            let end = (at + 4).min(input.len());
            let mut number = [0; 4];
            number[..end - at].copy_from_slice(&input[at..end]);
            let by = rng.random_range(0..17_u32).wrapping_sub(8);
            put(input, at, u32::from_le_bytes(number).wrapping_add(by));
        }
        8 => {
            let end = at + rng.random_range(0..=(input.len() - at).min(64));
            input.drain(at..end);
        }
        9 => {
            let n = rng.random_range(1..32);
            let byte = rng.random();
            input.splice(at..at, std::iter::repeat_n(byte, n));
        }
        10 => {
            let from = rng.random_range(0..input.len());
            let end = (from + rng.random_range(1..64)).min(input.len());
            let part = input[from..end].to_vec();
            let over = (at + part.len()).min(input.len());
            input[at..over].copy_from_slice(&part[..over - at]);
        }
        _ if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let end = (from + rng.random_range(1..256)).min(other.len());
            let until = if rng.random() { at } else { (at + end - from).min(input.len()) };
            input.splice(at..until, other[from..end].iter().copied());
        }
        _ => {}
    }
}

/// Writes a number, at a multiple of four mostly.
fn put(input: &mut [u8], at: usize, number: u32) {
    let at = if at % 16 < 14 { at & !3 } else { at };
    let end = (at + 4).min(input.len());
    input[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
}
