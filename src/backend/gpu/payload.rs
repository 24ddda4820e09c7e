//! What is uploaded of every point for features that need more of a member than its place.

use rayon::prelude::*;

use crate::backend::{Job, Known};
use crate::features::Members;

/// Where each part stands among a point's words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload {
    members: Members,
}

/// Parts with words, in their order: the name of the constant that says where they begin, and how many they are.
const PARTS: [(&str, Members, &str, u32); 5] = [
    // Red and green, blue and near-infrared of 16 bits each, and intensity.
    ("CHANNELS", Members::CHANNELS, "CHANNEL_WORD", 3),
    ("NORMALS", Members::NORMALS, "NORMAL_WORD", 3),
    ("REACH", Members::REACH, "REACH_WORD", 1),
    ("LRD", Members::LRD, "LRD_WORD", 1),
    // Squared distance and index of the last member, and the point's own index.
    ("LAST", Members::LAST, "LAST_WORD", 3),
];

impl Payload {
    pub(crate) fn of(members: Members) -> Self {
        Self { members }
    }

    /// Words of one point.
    pub(crate) fn words(self) -> u32 {
        PARTS.iter().filter(|part| self.members.has(part.1)).map(|part| part.3).sum()
    }

    /// Names of the parts that shaders have to look at, and the constants that say where their words begin.
    pub(crate) fn parts(self) -> (Vec<&'static str>, Vec<(&'static str, u32)>) {
        let without_words = [("PLANE_FIT", Members::PLANE_FIT), ("QUADRIC", Members::QUADRIC)];
        let names = without_words.into_iter().chain(PARTS.map(|part| (part.0, part.1)));
        let names = names.filter(|name| self.members.has(name.1)).map(|name| name.0).collect();
        let mut at = 0;
        let parts = PARTS.iter().filter(|part| self.members.has(part.1));
        let constants = parts.map(|part| {
            at += part.3;
            (part.2, at - part.3)
        });
        (names, constants.collect())
    }

    /// The words of the given points, one after the other.
    pub(crate) fn pack(
        self,
        job: &Job<'_>,
        known: &Known,
        points: usize,
        point: impl Fn(usize) -> usize + Sync,
    ) -> Vec<u32> {
        let words = self.words() as usize;
        let mut out = vec![0; points * words];
        if words == 0 {
            return out;
        }
        let fill = |(local, slot): (usize, &mut [u32])| {
            let i = point(local);
            let mut next = slot.iter_mut();
            let mut put = |word: u32| {
                if let Some(slot) = next.next() {
                    *slot = word;
                }
            };
            if self.members.has(Members::CHANNELS) {
                job.attributes.packed(i).into_iter().for_each(&mut put);
                put(job.attributes.intensity.map_or(0, |channel| channel[i].into()));
            }
            if self.members.has(Members::NORMALS) {
                known.normals[i].into_iter().for_each(|v| put(v.to_bits()));
            }
            if self.members.has(Members::REACH) {
                put(known.reach[i].to_bits());
            }
            if self.members.has(Members::LRD) {
                put(known.lrd[i].to_bits());
            }
            if self.members.has(Members::LAST) {
                // What lies beyond the kernels' distances lies beyond all that they compare it with.
                let (dist_sq, last) = known.last[i];
                put(u32::try_from(dist_sq).unwrap_or(u32::MAX));
                put(last);
                put(i as u32);
            }
        };
        out.par_chunks_exact_mut(words).with_min_len(1 << 12).enumerate().for_each(fill);
        out
    }
}
