//! Letters of 5 × 7 dots for labels: small letters, digits, point and space.

use super::picture::{Image, Rgb};

/// Rows from the top, five bits each, the highest on the left; those of g, p, q and y begin two rows lower.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        'a' => [0, 0, 14, 1, 15, 17, 15],
        'b' => [16, 16, 30, 17, 17, 17, 30],
        'c' => [0, 0, 14, 17, 16, 17, 14],
        'd' => [1, 1, 15, 17, 17, 17, 15],
        'e' => [0, 0, 14, 17, 31, 16, 14],
        'f' => [6, 8, 28, 8, 8, 8, 8],
        'g' => [15, 17, 17, 17, 15, 1, 14],
        'h' => [16, 16, 30, 17, 17, 17, 17],
        'i' => [4, 0, 12, 4, 4, 4, 14],
        'j' => [2, 0, 6, 2, 2, 18, 12],
        'k' => [16, 16, 18, 20, 24, 20, 18],
        'l' => [12, 4, 4, 4, 4, 4, 14],
        'm' => [0, 0, 26, 21, 21, 21, 21],
        'n' => [0, 0, 30, 17, 17, 17, 17],
        'o' => [0, 0, 14, 17, 17, 17, 14],
        'p' => [30, 17, 17, 17, 30, 16, 16],
        'q' => [15, 17, 17, 17, 15, 1, 1],
        'r' => [0, 0, 22, 25, 16, 16, 16],
        's' => [0, 0, 15, 16, 14, 1, 30],
        't' => [8, 8, 28, 8, 8, 9, 6],
        'u' => [0, 0, 17, 17, 17, 17, 15],
        'v' => [0, 0, 17, 17, 17, 10, 4],
        'w' => [0, 0, 17, 21, 21, 21, 10],
        'x' => [0, 0, 17, 10, 4, 10, 17],
        'y' => [17, 17, 17, 17, 15, 1, 14],
        'z' => [0, 0, 31, 2, 4, 8, 31],
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 6, 8, 16, 31],
        '3' => [30, 1, 1, 14, 1, 1, 30],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        _ => [0; 7],
    }
}

/// Draws `text` with dots of `size` pixels, upper left corner at (x, y); gives the x where it ends.
pub fn draw(image: &mut Image, text: &str, mut x: usize, y: usize, size: usize, color: Rgb) -> usize {
    for letter in text.chars() {
        let low = if "gpqy".contains(letter) { 2 * size } else { 0 };
        for (row, bits) in glyph(letter).iter().enumerate() {
            for column in (0..5).filter(|c| bits >> (4 - c) & 1 == 1) {
                for dot in 0..size * size {
                    let (dx, dy) = (column * size + dot % size, low + row * size + dot / size);
                    image.put(x + dx, y + dy, color);
                }
            }
        }
        x += 6 * size;
    }
    x
}
