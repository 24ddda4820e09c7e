//! Little-endian numbers of a file; what lies beyond its end is zero.

fn at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    for (out, byte) in out.iter_mut().zip(bytes.iter().skip(at)) {
        *out = *byte;
    }
    out
}

pub fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes(at(bytes, place))
}

pub fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from_le_bytes(at(bytes, place))
}

pub fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(at(bytes, place))
}
