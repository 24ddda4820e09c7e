//! How recorded colours fill their 16 bits, and what counts as full brightness.

use std::fmt;

use rayon::prelude::*;

/// How a sensor's values stand in the 16 bits of a colour or near-infrared channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColorDepth {
    /// 8 bits as they are: 0 to 255.
    Bits8,
    /// 8 bits in the upper byte, as LAS asks for: multiples of 256 up to 65280.
    Bits8Times256,
    /// 8 bits in both bytes: multiples of 257 up to 65535.
    Bits8Times257,
    /// 16 bits.
    Bits16,
}

impl ColorDepth {
    /// The recorded value that counts as 1.
    pub fn full_scale(self) -> u16 {
        match self {
            Self::Bits8 => 255,
            Self::Bits8Times256 => 255 * 256,
            Self::Bits8Times257 | Self::Bits16 => u16::MAX,
        }
    }
}

impl fmt::Display for ColorDepth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bits8 => "8-bit",
            Self::Bits8Times256 => "8-bit x 256",
            Self::Bits8Times257 => "8-bit x 257",
            Self::Bits16 => "16-bit",
        })
    }
}

/// What all values of some channels have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    pub(crate) largest: u16,
    times_256: bool,
    times_257: bool,
}

impl Values {
    const NONE: Self = Self { largest: 0, times_256: true, times_257: true };

    /// Looks through channels that share one depth.
    pub(crate) fn of<'a>(channels: impl IntoIterator<Item = &'a [u16]>) -> Self {
        let of_channel = |channel: &[u16]| {
            let pieces =
                channel.par_chunks(1 << 16).map(|piece| piece.iter().copied().fold(Self::NONE, Self::with));
            pieces.reduce(|| Self::NONE, Self::and)
        };
        channels.into_iter().map(of_channel).fold(Self::NONE, Self::and)
    }

    fn with(self, value: u16) -> Self {
        Self {
            largest: self.largest.max(value),
            times_256: self.times_256 && value.is_multiple_of(256),
            times_257: self.times_257 && value.is_multiple_of(257),
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            largest: self.largest.max(other.largest),
            times_256: self.times_256 && other.times_256,
            times_257: self.times_257 && other.times_257,
        }
    }

    /// The depth that explains the values. Channels that a 16-bit sensor left below 256 pass for 8 bits.
    pub(crate) fn depth(self) -> ColorDepth {
        match self {
            Self { largest: 0..=255, .. } => ColorDepth::Bits8,
            Self { times_256: true, .. } => ColorDepth::Bits8Times256,
            Self { times_257: true, .. } => ColorDepth::Bits8Times257,
            _ => ColorDepth::Bits16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_are_recognised() {
        let of = |values: &[u16]| Values::of([values]).depth();
        assert_eq!(of(&[0, 17, 255]), ColorDepth::Bits8);
        assert_eq!(of(&[0, 256, 255 * 256]), ColorDepth::Bits8Times256);
        assert_eq!(of(&[0, 257, u16::MAX]), ColorDepth::Bits8Times257);
        assert_eq!(of(&[0, 256, 257]), ColorDepth::Bits16);
        assert_eq!(of(&[256]), ColorDepth::Bits8Times256);
        // Channels are looked at together: one of them may be dark.
        assert_eq!(Values::of([&[0, 3][..], &[256, 512]]).depth(), ColorDepth::Bits16);
        assert_eq!(Values::of([&[0, 0][..], &[256, 512]]).depth(), ColorDepth::Bits8Times256);
        let long: Vec<u16> = (0..200_000u32).map(|i| (i % 256 * 256) as u16).chain([1]).collect();
        assert_eq!(of(&long), ColorDepth::Bits16);
        assert_eq!(of(&long[..200_000]), ColorDepth::Bits8Times256);
    }

    #[test]
    fn full_scale_is_the_largest_value_there_can_be() {
        let full = |depth: ColorDepth, most: u16| f64::from(most) / f64::from(depth.full_scale());
        assert_eq!(full(ColorDepth::Bits8, 255), 1.0);
        assert_eq!(full(ColorDepth::Bits8Times256, 255 * 256), 1.0);
        assert_eq!(full(ColorDepth::Bits8Times257, 255 * 257), 1.0);
        assert_eq!(full(ColorDepth::Bits16, u16::MAX), 1.0);
    }
}
