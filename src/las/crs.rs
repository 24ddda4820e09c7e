//! What a file's coordinate reference system says of its units.

use super::layout::u16_at;
use super::wkt;
use crate::unit::{Unit, UnitSource, Units};

/// User of the records that describe the system.
pub(super) const USER: &str = "LASF_Projection";
/// The system as well-known text.
pub(super) const WKT: u16 = 2112;
/// The system as GeoTIFF keys.
pub(super) const GEO_KEYS: u16 = 34735;

/// Longest well-known text that is read; real ones have a few kilobytes.
pub(super) const LONGEST_WKT: u64 = 1 << 20;

const MODEL_TYPE: u16 = 1024;
const PROJECTED_UNIT: u16 = 3076;
const VERTICAL_UNIT: u16 = 4099;
const GEOGRAPHIC: u16 = 2;

/// The units that a file's records state.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Stated {
    pub(super) horizontal: Option<Unit>,
    pub(super) vertical: Option<Unit>,
    /// What the records say that no [`Unit`] can, in a sentence.
    pub(super) note: Option<String>,
}

impl Stated {
    /// Reads whichever of the two records there is. `wkt_first` is the header's word on which of them holds; the
    /// other one still fills in what that one leaves out.
    pub(super) fn of(keys: Option<&[u8]>, text: Option<&[u8]>, wkt_first: bool) -> Self {
        let keys = keys.map(Self::of_keys).unwrap_or_default();
        let text = text.map(|bytes| Self::of_wkt(&String::from_utf8_lossy(bytes))).unwrap_or_default();
        let (first, second) = if wkt_first { (text, keys) } else { (keys, text) };
        Self {
            horizontal: first.horizontal.or(second.horizontal),
            vertical: first.vertical.or(second.vertical),
            note: first.note.or(second.note),
        }
    }

    /// The units to compute with: without a vertical unit of its own, z is in that of x and y.
    pub(super) fn units(&self) -> Units {
        match self.horizontal {
            Some(horizontal) => {
                Units { horizontal, vertical: self.vertical.unwrap_or(horizontal), source: UnitSource::Crs }
            }
            None => Units { vertical: self.vertical.unwrap_or_default(), ..Units::default() },
        }
    }

    fn of_wkt(text: &str) -> Self {
        let lengths = wkt::lengths(text);
        let mut out = Self::default();
        let mut unit = |metres: Option<f64>| {
            let metres = metres?;
            let unit = of_length(metres);
            if unit.is_none() {
                out.note = Some(format!("the file's unit of {metres} m is not one of metre and feet"));
            }
            unit
        };
        let (horizontal, vertical) = (unit(lengths.horizontal), unit(lengths.vertical));
        if lengths.is_geographic {
            out.note = Some(DEGREES.to_owned());
        }
        Self { horizontal, vertical, ..out }
    }

    fn of_keys(bytes: &[u8]) -> Self {
        // Four numbers of header, then four for each key; a key's value stands in the last if the second is zero.
        let keys = || bytes.chunks_exact(8).skip(1).filter(|key| u16_at(key, 2) == 0);
        let value = |id: u16| keys().find(|key| u16_at(key, 0) == id).map(|key| u16_at(key, 6));
        let mut out = Self::default();
        let mut unit = |id: u16| match value(id)? {
            9001 => Some(Unit::Metre),
            9002 => Some(Unit::Foot),
            9003 => Some(Unit::UsSurveyFoot),
            code => {
                out.note = Some(format!("the file's unit EPSG:{code} is not one of metre and feet"));
                None
            }
        };
        let (horizontal, vertical) = (unit(PROJECTED_UNIT), unit(VERTICAL_UNIT));
        if value(MODEL_TYPE) == Some(GEOGRAPHIC) {
            out.note = Some(DEGREES.to_owned());
        }
        Self { horizontal, vertical, ..out }
    }
}

const DEGREES: &str =
    "the file's coordinates are longitude and latitude: distances between them mean nothing";

/// The unit of this length in metres. Texts round the US survey foot to seven digits; it is 6e-7 from the other.
fn of_length(metres: f64) -> Option<Unit> {
    Unit::ALL.into_iter().find(|unit| (unit.in_metres() - metres).abs() < 5e-8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(entries: &[[u16; 4]]) -> Vec<u8> {
        let header = [1, 1, 0, entries.len() as u16];
        std::iter::once(&header).chain(entries).flatten().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn keys_state_units() {
        let of = |entries: &[[u16; 4]]| Stated::of(Some(&keys(entries)), None, false);
        let stated = of(&[[1024, 0, 1, 1], [3076, 0, 1, 9002], [4099, 0, 1, 9003]]);
        assert_eq!((stated.horizontal, stated.vertical), (Some(Unit::Foot), Some(Unit::UsSurveyFoot)));
        let units = of(&[[3076, 0, 1, 9003]]).units();
        assert_eq!((units.vertical, units.source), (Unit::UsSurveyFoot, UnitSource::Crs));
        assert!(of(&[[3076, 0, 1, 9036]]).note.is_some_and(|note| note.contains("EPSG:9036")));
        assert!(of(&[[1024, 0, 1, 2]]).note.is_some_and(|note| note.contains("longitude")));
        // A value that stands elsewhere is no code; a record that is cut short states what it has.
        assert_eq!(of(&[[3076, 34736, 1, 9002]]), Stated::default());
        let mut short = keys(&[[3076, 0, 1, 9001], [4099, 0, 1, 9001]]);
        short.pop();
        assert_eq!(Stated::of(Some(&short), None, false).vertical, None);
        assert_eq!(Stated::of(Some(&[]), Some(&[0xff]), true).units(), Units::default());
    }

    #[test]
    fn the_header_says_which_record_holds() {
        let keys = keys(&[[3076, 0, 1, 9001], [4099, 0, 1, 9001]]);
        let text = br#"PROJCS["x",UNIT["Foot_US",0.3048006096]]"#;
        let of = |wkt_first| Stated::of(Some(&keys), Some(text), wkt_first);
        assert_eq!((of(true).horizontal, of(true).vertical), (Some(Unit::UsSurveyFoot), Some(Unit::Metre)));
        assert_eq!(of(false).horizontal, Some(Unit::Metre));
    }

    #[test]
    fn lengths_are_told_apart() {
        assert_eq!(of_length(1.0), Some(Unit::Metre));
        assert_eq!(of_length(0.3048), Some(Unit::Foot));
        assert_eq!(of_length(0.3048006), Some(Unit::UsSurveyFoot));
        assert_eq!(of_length(1000.0), None);
        assert_eq!(of_length(f64::NAN), None);
    }
}
