//! Extra-bytes dimensions: their descriptions (`LASF_Spec` record 4) and where each stands in a record.

use std::ops::Range;

use super::header::{EXTRA_BYTES, Vlr};
use crate::columns::las_name_in;
use crate::features::Row;
use crate::neighborhood::Neighborhood;

/// Bytes of one description.
pub(super) const DESCRIPTOR: usize = 192;
/// Descriptions that one record of 65,535 bytes holds.
pub(super) const MOST_DIMENSIONS: usize = 65_535 / DESCRIPTOR;

pub(super) const NAME: Range<usize> = 4..36;
const DESCRIPTION: Range<usize> = 160..192;

/// A number type that columns are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U16,
    U32,
    F32,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::U16 => 3,
            Self::U32 => 5,
            Self::F32 => 9,
        }
    }
}

/// One dimension's description, as in the file.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Descriptor(pub(super) [u8; DESCRIPTOR]);

impl Descriptor {
    /// Describes a feature's column, in one of several neighbourhoods if there are.
    pub(super) fn of(row: &Row, neighborhood: Option<Neighborhood>, kind: Kind) -> Self {
        Self::new(
            &las_name_in(row.las_name(), neighborhood),
            &format!("[{}] {}", row.unit, row.formula),
            kind,
        )
    }

    /// Describes any column.
    pub(super) fn new(name: &str, text: &str, kind: Kind) -> Self {
        let mut bytes = [0; DESCRIPTOR];
        bytes[2] = kind.code();
        put(&mut bytes[NAME], name);
        put(&mut bytes[DESCRIPTION], &ascii(text));
        Self(bytes)
    }

    /// Describes bytes of which nothing is known but their number, under the name that laspy gives such bytes.
    fn undocumented(index: usize, size: u8) -> Self {
        let mut bytes = [0; DESCRIPTOR];
        bytes[3] = size;
        let name = if index == 1 { "ExtraBytes".to_owned() } else { format!("ExtraBytes{index}") };
        put(&mut bytes[NAME], &name);
        Self(bytes)
    }

    pub(super) fn name(&self) -> &[u8] {
        let name = &self.0[NAME];
        &name[..name.iter().position(|&b| b == 0).unwrap_or(name.len())]
    }

    pub(super) fn text_name(&self) -> String {
        String::from_utf8_lossy(self.name()).into_owned()
    }

    /// Bytes of the dimension in a record; `None` for a type that the specification does not have.
    pub(super) fn size(&self) -> Option<usize> {
        const SCALARS: [usize; 10] = [1, 1, 2, 2, 4, 4, 8, 8, 4, 8];
        match self.0[2] {
            0 => Some(usize::from(self.0[3])),
            // 11 to 30 are the deprecated pairs and triples.
            kind @ 1..=30 => {
                let kind = usize::from(kind) - 1;
                Some(SCALARS[kind % 10] * (kind / 10 + 1))
            }
            _ => None,
        }
    }
}

/// Copies text that fits; longer text is cut (names of the catalogue fit, a test sees to it).
fn put(target: &mut [u8], text: &str) {
    let n = text.len().min(target.len());
    target[..n].copy_from_slice(&text.as_bytes()[..n]);
}

/// Text that readers without UTF-8 show right, 31 bytes at most so that it ends with a zero.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '²' => out.push('2'),
            '³' => out.push('3'),
            '°' => out.push_str("deg"),
            'λ' => out.push('l'),
            'Σ' => out.push('S'),
            'σ' => out.push('s'),
            'π' => out.push_str("pi"),
            '√' => out.push_str("sqrt"),
            '∛' => out.push_str("cbrt"),
            '≥' => out.push_str(">="),
            '−' => out.push('-'),
            '÷' => out.push('/'),
            '·' => out.push('*'),
            c if c.is_ascii_graphic() || c == ' ' => out.push(c),
            _ => out.push('?'),
        }
    }
    out.truncate(DESCRIPTION.len() - 1);
    out
}

/// One dimension and its bytes in a record.
#[derive(Clone)]
pub(super) struct Dimension {
    pub(super) descriptor: Descriptor,
    pub(super) range: Range<usize>,
    /// Which of the file's description records it is in.
    pub(super) record: usize,
}

/// The dimensions of a record's extra bytes, without gaps: every byte from `base` to `end` belongs to one.
///
/// Several records of descriptions follow each other as one list. Bytes that no description covers are described as
/// undocumented where they stand, in the last record; descriptions of bytes that are not there are dropped. The text says so.
pub(super) fn dimensions<'a>(
    descriptions: impl Iterator<Item = &'a [u8]>,
    base: usize,
    end: usize,
) -> (Vec<Dimension>, Option<String>) {
    let mut out: Vec<Dimension> = Vec::new();
    let mut at = base;
    let mut note = None;
    let mut last = 0;
    let numbered = descriptions.enumerate();
    for (record, bytes) in numbered.flat_map(|(i, data)| data.chunks_exact(DESCRIPTOR).map(move |b| (i, b))) {
        last = record;
        let mut descriptor = [0; DESCRIPTOR];
        descriptor.copy_from_slice(bytes);
        let descriptor = Descriptor(descriptor);
        let range = descriptor.size().map(|size| at..at + size).filter(|range| range.end <= end);
        let Some(range) = range else {
            note = Some(format!(
                "extra dimension {:?} of type {} does not fit the {} extra bytes of a record; its description and \
                 those after it are dropped",
                String::from_utf8_lossy(descriptor.name()),
                descriptor.0[2],
                end - base
            ));
            break;
        };
        at = range.end;
        out.push(Dimension { descriptor, range, record });
    }
    let mut index = 1;
    while at < end {
        let size = (end - at).min(255);
        let descriptor = Descriptor::undocumented(index, size as u8);
        out.push(Dimension { descriptor, range: at..at + size, record: last });
        at += size;
        index += 1;
    }
    (out, note)
}

/// A record of descriptions.
pub(super) fn record<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vlr {
    let data: Vec<u8> = descriptors.flat_map(|d| d.0).collect();
    let mut header = [0; 54];
    put(&mut header[2..18], EXTRA_BYTES.0);
    header[18..20].copy_from_slice(&EXTRA_BYTES.1.to_le_bytes());
    // The caller bounds the dimensions by MOST_DIMENSIONS, so the length is a u16.
    header[20..22].copy_from_slice(&(data.len() as u16).to_le_bytes());
    put(&mut header[22..54], "Extra Bytes Record");
    Vlr { header, data }
}

/// Reads `data` as descriptions of a record's extra bytes and panics unless each of the bytes then belongs to one
/// dimension: for tests and fuzzing. The first bytes choose the record's length and how the descriptions are cut.
#[cfg(any(test, fuzzing))]
pub fn exercise(data: &[u8]) {
    let [low, high, cut, data @ ..] = data else { return };
    let (base, length) = (20, usize::from(u16::from_le_bytes([*low, *high])).max(20));
    let (first, second) = data.split_at(data.len() * usize::from(*cut) / 256);
    let (all, _) = dimensions([first, second].into_iter(), base, length);
    let mut at = base;
    for (i, dimension) in all.iter().enumerate() {
        assert_eq!(dimension.range.start, at);
        assert_eq!(dimension.descriptor.size(), Some(dimension.range.len()));
        assert!(dimension.record < 2 && (i == 0 || all[i - 1].record <= dimension.record));
        assert!(dimension.descriptor.text_name().len() <= 3 * NAME.len());
        at = dimension.range.end;
    }
    assert_eq!(at, length);
    for list in all.chunks(MOST_DIMENSIONS) {
        let vlr = record(list.iter().map(|d| &d.descriptor));
        assert_eq!(vlr.data.len(), usize::from(u16::from_le_bytes([vlr.header[20], vlr.header[21]])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;

    #[test]
    fn descriptions_are_ascii_and_names_whole() {
        for feature in Feature::all() {
            let d = Descriptor::of(feature.row(), None, Kind::F32);
            assert_eq!(d.name(), feature.row().las_name().as_bytes());
            let text = &d.0[DESCRIPTION];
            assert!(text.is_ascii() && text[31] == 0 && !text.contains(&b'?'), "{}", feature.name());
            assert_eq!(d.size(), Some(4));
        }
    }

    #[test]
    fn every_extra_byte_belongs_to_a_dimension() {
        let known = Descriptor::of(Feature::Planarity.row(), None, Kind::F32);
        let (all, note) = dimensions([known.0.as_slice()].into_iter(), 20, 20 + 4 + 300);
        let ranges: Vec<_> = all.iter().map(|d| d.range.clone()).collect();
        assert_eq!(ranges, [20..24, 24..279, 279..324]);
        assert_eq!((all[1].descriptor.0[2], all[1].descriptor.0[3]), (0, 255));
        assert!(note.is_none());

        let (all, note) = dimensions([known.0.as_slice(), known.0.as_slice()].into_iter(), 20, 26);
        assert_eq!(all.iter().map(|d| d.range.clone()).collect::<Vec<_>>(), [20..24, 24..26]);
        assert!(note.unwrap().contains("Planarity"));
    }

    #[test]
    fn any_bytes_describe_a_record() {
        let mut state = 1u64;
        for i in 0..3_000 {
            let mut data: Vec<u8> = (0..3 + i % 1200)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (state >> 56) as u8
                })
                .collect();
            // Types that exist, in most of them.
            for kind in data.iter_mut().skip(3 + 2).step_by(DESCRIPTOR) {
                *kind %= 34;
            }
            data[1] %= 4;
            exercise(&data);
        }
    }

    #[test]
    fn sizes_of_all_types() {
        let size = |kind: u8, options: u8| {
            let mut d = [0; DESCRIPTOR];
            (d[2], d[3]) = (kind, options);
            Descriptor(d).size()
        };
        assert_eq!((size(0, 7), size(1, 0), size(10, 0), size(13, 0)), (Some(7), Some(1), Some(8), Some(4)));
        assert_eq!((size(29, 0), size(30, 0), size(31, 0)), (Some(12), Some(24), None));
    }
}
