//! Fewer colours, for a smaller file: median cut (Heckbert 1982).

use std::collections::HashMap;

use super::picture::Rgb;

/// Steps of a channel that are told apart before boxes are cut.
const STEPS: f32 = 63.0;

/// At most `most` (≤ 256) colours, and for each pixel the one that stands for it.
pub fn reduce(pixels: &[Rgb], most: usize) -> (Vec<[u8; 3]>, Vec<u8>) {
    let key = |p: &Rgb| p.map(|c| (c.clamp(0.0, 1.0) * STEPS).round() as u8);
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for pixel in pixels {
        *counts.entry(key(pixel)).or_default() += 1;
    }
    let mut all: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    all.sort_unstable();
    let mut boxes = vec![all];
    while boxes.len() < most {
        let Some((widest, axis)) = next_cut(&boxes) else { break };
        let mut low = boxes.swap_remove(widest);
        low.sort_unstable_by_key(|(color, _)| (color[axis], *color));
        let half = low.iter().map(|(_, n)| n).sum::<usize>() / 2;
        let mut passed = 0;
        let middle = low.iter().position(|(_, n)| {
            passed += n;
            passed > half
        });
        // Both halves keep a colour, so that every cut brings the end nearer.
        let at = middle.unwrap_or(0).clamp(1, low.len() - 1);
        let high = low.split_off(at);
        boxes.push(low);
        boxes.push(high);
    }
    let mut colors: Vec<_> = boxes.iter().map(|b| (mean(b), b)).collect();
    colors.sort_unstable_by_key(|(color, _)| color.map(u32::from).iter().sum::<u32>());
    let index: HashMap<[u8; 3], u8> = colors
        .iter()
        .enumerate()
        .flat_map(|(i, (_, members))| members.iter().map(move |(color, _)| (*color, i as u8)))
        .collect();
    let indices = pixels.iter().map(|p| index[&key(p)]).collect();
    (colors.into_iter().map(|(color, _)| color).collect(), indices)
}

/// The box whose widest side matters most, weighted by the root of its pixels, and that side's channel.
fn next_cut(boxes: &[Vec<([u8; 3], usize)>]) -> Option<(usize, usize)> {
    let mut best = (0.0, None);
    for (i, members) in boxes.iter().enumerate() {
        let weight = (members.iter().map(|(_, n)| n).sum::<usize>() as f32).sqrt();
        for axis in 0..3 {
            let values = members.iter().map(|(color, _)| color[axis]);
            let side = values.clone().max().unwrap_or(0) - values.min().unwrap_or(0);
            let score = f32::from(side) * weight;
            if score > best.0 {
                best = (score, Some((i, axis)));
            }
        }
    }
    best.1
}

fn mean(members: &[([u8; 3], usize)]) -> [u8; 3] {
    let total = members.iter().map(|(_, n)| n).sum::<usize>().max(1) as f32;
    std::array::from_fn(|axis| {
        let sum: f32 = members.iter().map(|(color, n)| f32::from(color[axis]) * *n as f32).sum();
        (sum / total * 255.0 / STEPS).round() as u8
    })
}
