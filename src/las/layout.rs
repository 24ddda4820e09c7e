//! Where a point record's fields stand, by point format.

use las::point::Format;

/// Byte offsets of the fields that are read. Coordinates are the record's first three i32, intensity follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Bytes of the format's own fields; extra bytes follow.
    pub(super) base: usize,
    pub(super) classification: usize,
    /// Formats below 6 keep flags in the upper three bits of the class.
    pub(super) class_mask: u8,
    /// Byte and bit of the flag that says a point is deleted.
    pub(super) withheld: (usize, u8),
    pub(super) rgb: Option<usize>,
    pub(super) nir: Option<usize>,
}

pub(super) const INTENSITY: usize = 12;

impl Layout {
    pub(super) fn new(mut format: Format) -> Self {
        format.extra_bytes = 0;
        let base = usize::from(format.len());
        // Formats 6 and up hold the time in their first 30 bytes; below, it follows the first 20.
        let color = match (format.is_extended, format.has_gps_time) {
            (true, _) => 30,
            (false, true) => 28,
            (false, false) => 20,
        };
        Self {
            base,
            classification: if format.is_extended { 16 } else { 15 },
            class_mask: if format.is_extended { 0xff } else { 0x1f },
            withheld: if format.is_extended { (15, 1 << 2) } else { (15, 1 << 7) },
            rgb: format.has_color.then_some(color),
            nir: format.has_nir.then_some(color + 6),
        }
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

pub(super) fn i32_at(bytes: &[u8], at: usize) -> i32 {
    u32_at(bytes, at) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_follow_the_specification() {
        let of = |id: u8| Layout::new(Format::new(id).unwrap());
        assert_eq!((of(0).base, of(0).rgb, of(0).nir), (20, None, None));
        assert_eq!((of(2).base, of(2).rgb), (26, Some(20)));
        assert_eq!((of(3).base, of(3).rgb), (34, Some(28)));
        assert_eq!((of(5).base, of(5).rgb), (63, Some(28)));
        assert_eq!((of(7).base, of(7).rgb, of(7).nir), (36, Some(30), None));
        assert_eq!((of(8).base, of(8).rgb, of(8).nir), (38, Some(30), Some(36)));
        assert_eq!((of(10).base, of(10).rgb, of(10).nir), (67, Some(30), Some(36)));
        assert_eq!((of(1).classification, of(1).class_mask), (15, 0x1f));
        assert_eq!((of(6).classification, of(6).class_mask), (16, 0xff));
    }
}
