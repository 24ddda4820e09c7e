//! Colours in other coordinates: the catalogue's section 2.5 in f64.

use super::formulas::Attributes;

impl Attributes {
    fn rgb(&self) -> [f64; 3] {
        [self.red, self.green, self.blue]
    }

    fn min(&self) -> f64 {
        self.red.min(self.green).min(self.blue)
    }

    pub(crate) fn max(&self) -> f64 {
        self.red.max(self.green).max(self.blue)
    }

    pub(crate) fn mean(&self) -> f64 {
        (self.red + self.green + self.blue) / 3.0
    }

    pub(crate) fn std(&self) -> f64 {
        let mean = self.mean();
        (self.rgb().map(|c| (c - mean).powi(2)).iter().sum::<f64>() / 3.0).sqrt()
    }

    pub(crate) fn range(&self) -> f64 {
        self.max() - self.min()
    }

    /// Part of a full turn; 0 for greys, which have none.
    pub(crate) fn hue(&self) -> f64 {
        let (max, range) = (self.max(), self.range());
        if range == 0.0 {
            return 0.0;
        }
        let sixths = if max == self.red {
            (self.green - self.blue) / range
        } else if max == self.green {
            2.0 + (self.blue - self.red) / range
        } else {
            4.0 + (self.red - self.green) / range
        };
        sixths.rem_euclid(6.0) / 6.0
    }

    pub(crate) fn saturation(&self) -> f64 {
        if self.max() == 0.0 { 0.0 } else { self.range() / self.max() }
    }

    /// CIE L*a*b* of sRGB under D65, each divided by 100.
    pub(crate) fn lab(&self) -> [f64; 3] {
        let [r, g, b] = self.rgb().map(linear);
        // IEC 61966-2-1, its rows divided by the white point of D65 (0.95047, 1, 1.08883).
        let x = response((0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47);
        let y = response(0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b);
        let z = response((0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b) / 1.088_83);
        [1.16 * y - 0.16, 5.0 * (x - y), 2.0 * (y - z)]
    }
}

/// sRGB's transfer curve undone.
fn linear(c: f64) -> f64 {
    if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

/// Cube root, with CIE's straight line near zero.
fn response(t: f64) -> f64 {
    const EDGE: f64 = 6.0 / 29.0;
    if t > EDGE.powi(3) { t.cbrt() } else { t / (3.0 * EDGE * EDGE) + 4.0 / 29.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    fn of(red: f64, green: f64, blue: f64) -> Attributes {
        Attributes { red, green, blue, ..Attributes::default() }
    }

    #[test]
    fn known_colours_have_their_coordinates() {
        // L*a*b* of sRGB's corners, as published to four digits (white is 100, 0, 0).
        let known = [
            (of(1.0, 1.0, 1.0), 0.0, 0.0, [1.0, 0.0, 0.0]),
            (of(0.0, 0.0, 0.0), 0.0, 0.0, [0.0, 0.0, 0.0]),
            (of(1.0, 0.0, 0.0), 0.0, 1.0, [0.5324, 0.8009, 0.6720]),
            (of(0.0, 1.0, 0.0), 1.0 / 3.0, 1.0, [0.8773, -0.8618, 0.8318]),
            (of(0.0, 0.0, 1.0), 2.0 / 3.0, 1.0, [0.3230, 0.7919, -1.0786]),
        ];
        for (color, hue, saturation, lab) in known {
            assert_abs_diff_eq!(color.hue(), hue, epsilon = 1e-12);
            assert_abs_diff_eq!(color.saturation(), saturation, epsilon = 1e-12);
            for (got, want) in color.lab().into_iter().zip(lab) {
                assert_abs_diff_eq!(got, want, epsilon = 2e-4);
            }
        }
        assert_abs_diff_eq!(of(1.0, 0.0, 0.25).hue(), 1.0 - 0.25 / 6.0, epsilon = 1e-12);
    }
}
