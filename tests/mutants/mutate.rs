//! Damage of every kind that a file of points can have.

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::files::Random;

/// Numbers in the header, by place and bytes: version, encoding, sizes, offsets, counts, and where records stand.
const HEADER: &[(usize, usize)] = &[
    (6, 2),
    (24, 1),
    (25, 1),
    (94, 2),
    (96, 4),
    (100, 4),
    (104, 1),
    (105, 2),
    (107, 4),
    (111, 4),
    (227, 8),
    (235, 8),
    (243, 4),
    (247, 8),
    (255, 8),
];
/// Scales, offsets and bounds.
const DOUBLES: std::ops::Range<usize> = 131..227;
/// Numbers of the laszip record: compressor, coder, options, points of a chunk, number of items.
const LASZIP: &[(usize, usize)] = &[(0, 2), (2, 2), (8, 4), (12, 4), (16, 8), (24, 8), (32, 2)];

/// Damages `bytes` in one to three ways; `other` is a file to splice with.
pub fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            return;
        }
        match random.below(11) {
            0 => flip_bits(random, bytes),
            1 => run(random, bytes),
            2 => bytes.truncate(random.below(bytes.len() as u64) as usize),
            3 | 4 => header(random, bytes),
            5 => double(random, bytes),
            6 => record(random, bytes),
            7 => extended_record(random, bytes),
            8 | 9 => chunks(random, bytes),
            _ => splice(random, bytes, other),
        }
    }
}

/// A place; half of the time before the points.
fn place(random: &mut Random, bytes: &[u8]) -> usize {
    let head = (u32_at(bytes, 96) as usize).clamp(1, bytes.len());
    let end = if random.below(2) == 0 { head } else { bytes.len() };
    random.below(end as u64) as usize
}

fn flip_bits(random: &mut Random, bytes: &mut [u8]) {
    for _ in 0..=random.below(8) {
        bytes[place(random, bytes)] ^= 1 << random.below(8);
    }
}

/// Overwrites some bytes with zeros, ones, anything, or bytes from elsewhere in the file.
fn run(random: &mut Random, bytes: &mut [u8]) {
    let at = place(random, bytes);
    let end = (at + 1 + random.below(64) as usize).min(bytes.len());
    match random.below(4) {
        0 => bytes[at..end].fill(0),
        1 => bytes[at..end].fill(0xff),
        2 => bytes[at..end].iter_mut().for_each(|byte| *byte = random.next() as u8),
        _ => {
            let from = random.below((bytes.len() - (end - at) + 1) as u64) as usize;
            bytes.copy_within(from..from + (end - at), at);
        }
    }
}

/// Gives a number of `size` bytes a value that counts and offsets do not expect.
fn extreme(random: &mut Random, bytes: &mut [u8], at: usize, size: usize) {
    let whole = bytes.len() as u64;
    let (old, top) = (u64_at(bytes, at), 1u64 << (8 * size - 1));
    let choices = [
        0,
        1,
        u64::MAX,
        u64::MAX - 1,
        top,
        top - 1,
        whole,
        whole - 1,
        whole + 1,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        old.wrapping_mul(2),
        random.below(whole),
        random.below(1 << 20),
        random.next(),
    ];
    let value = choices[random.below(choices.len() as u64) as usize];
    for (byte, new) in bytes.iter_mut().skip(at).zip(&value.to_le_bytes()[..size]) {
        *byte = *new;
    }
}

fn header(random: &mut Random, bytes: &mut [u8]) {
    let (at, size) = HEADER[random.below(HEADER.len() as u64) as usize];
    extreme(random, bytes, at, size);
}

fn double(random: &mut Random, bytes: &mut [u8]) {
    let count = (DOUBLES.end - DOUBLES.start) / 8;
    let at = DOUBLES.start + 8 * random.below(count as u64) as usize;
    let choices = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 5e-324, 1e300, -1e-3, 1e-12, 0.003];
    let value: f64 = choices[random.below(choices.len() as u64) as usize];
    for (byte, new) in bytes.iter_mut().skip(at).zip(value.to_le_bytes()) {
        *byte = new;
    }
}

/// Where variable-length records begin, as far as they can be followed.
fn records(bytes: &[u8]) -> Vec<usize> {
    let mut at = usize::from(u16_at(bytes, 94));
    let mut out = Vec::new();
    for _ in 0..u32_at(bytes, 100).min(20) {
        if at + 54 > bytes.len() {
            break;
        }
        out.push(at);
        at += 54 + usize::from(u16_at(bytes, at + 20));
    }
    out
}

/// One number of a variable-length record's header, of the laszip record or of a description of extra bytes.
fn record(random: &mut Random, bytes: &mut [u8]) {
    let all = records(bytes);
    if all.is_empty() {
        return;
    }
    let at = all[random.below(all.len() as u64) as usize];
    let data = at + 54;
    let compression = bytes[at + 2..].starts_with(b"laszip");
    let anywhere = random.below(192) as usize;
    match random.below(4) {
        0 => extreme(random, bytes, at + 20, 2),
        1 => extreme(random, bytes, at + 18, 2),
        _ if compression && random.below(2) == 0 => {
            let (field, size) = LASZIP[random.below(LASZIP.len() as u64) as usize];
            extreme(random, bytes, data + field, size);
        }
        // An item: type, size, version.
        _ if compression => extreme(random, bytes, data + 34 + 2 * (anywhere % 12), 2),
        // Data type and options of a description; elsewhere some number.
        2 => extreme(random, bytes, data + 192 * (anywhere % 2) + 2, 2),
        _ => extreme(random, bytes, data + anywhere, 4),
    }
}

fn extended_record(random: &mut Random, bytes: &mut [u8]) {
    // Elsewhere this field is data of some record.
    let at = usize::try_from(u64_at(bytes, 235)).unwrap_or(usize::MAX);
    if at.checked_add(60).is_none_or(|end| end > bytes.len()) {
        return header(random, bytes);
    }
    match random.below(3) {
        0 => extreme(random, bytes, at + 20, 8),
        1 => extreme(random, bytes, at + 18, 2),
        // A record of another kind: a text of a reference system, descriptions of extra bytes.
        _ => {
            let kinds: [(&[u8], u16); 2] = [(b"LASF_Projection\0", 2112), (b"LASF_Spec\0\0\0\0\0\0\0", 4)];
            let (user, number) = kinds[random.below(2) as usize];
            bytes[at + 2..at + 18].copy_from_slice(user);
            bytes[at + 18..at + 20].copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// The chunk table's place, number of chunks and entries; the number of points and layers' lengths of a chunk. In
/// uncompressed files these are numbers of the points.
fn chunks(random: &mut Random, bytes: &mut Vec<u8>) {
    let points = u32_at(bytes, 96) as usize;
    let table = usize::try_from(u64_at(bytes, points)).unwrap_or(0);
    if points + 8 > bytes.len() {
        return;
    }
    match random.below(6) {
        0 => extreme(random, bytes, points, 8),
        1 => extreme(random, bytes, table, 4),
        2 => extreme(random, bytes, table.saturating_add(4), 4),
        3 => {
            let at = table.saturating_add(8 + random.below(8) as usize);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        // A file without a table, as writers leave it that cannot seek back.
        4 => {
            bytes[points..points + 8].fill(0xff);
            if table > points && table < bytes.len() {
                bytes.truncate(table);
            }
        }
        _ => {
            let head = points + 8 + usize::from(u16_at(bytes, 105));
            let layer = random.below(20) as usize;
            extreme(random, bytes, head + 4 * layer, 4);
        }
    }
}

/// One file's begin and another's end.
fn splice(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let cut = place(random, bytes);
    // Either at the same byte, so that the rest stands where the header says, or anywhere.
    let from =
        if random.below(2) == 0 { cut.min(other.len()) } else { random.below(other.len() as u64) as usize };
    bytes.truncate(cut);
    bytes.extend_from_slice(&other[from..]);
}
