//! Variants that one run compares, in turns.

use clap::ValueEnum;
use lidar_features::{Backend, Columns, EngineBuilder};

/// One way to compute; what it does not say is as the other arguments have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Variant {
    /// As the other arguments say.
    Asked,
    /// One chunk at a time.
    Serial,
    /// Buffers made anew for every use.
    Unpooled,
    /// On a GPU.
    Gpu,
    /// On the CPU.
    Cpu,
}

impl Variant {
    pub fn of(self, builder: EngineBuilder) -> EngineBuilder {
        match self {
            Self::Asked => builder,
            Self::Serial => builder.chunks_in_flight(1),
            Self::Unpooled => builder.reuse_buffers(false),
            Self::Gpu => builder.backend(Backend::Gpu),
            Self::Cpu => builder.backend(Backend::Cpu),
        }
    }

    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Values that differ between two results of one device, where the bits must be the same.
pub fn differences(a: &Columns, b: &Columns) -> usize {
    let differ =
        |(a, b): (&[f32], &[f32])| a.iter().zip(b).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let values: usize = a.iter().zip(b).map(|(a, b)| differ((&a.values, &b.values))).sum();
    values + a.flags().iter().zip(b.flags()).filter(|(a, b)| a != b).count()
}

/// Values of copies of a cloud that differ from those of the cloud alone.
pub fn differences_of_copies(copies: &Columns, single: &Columns) -> usize {
    let n = single.len().max(1);
    let differ = |all: &[f32], one: &[f32]| {
        all.chunks(n)
            .map(|copy| copy.iter().zip(one).filter(|(a, b)| a.to_bits() != b.to_bits()).count())
            .sum::<usize>()
    };
    copies.iter().zip(single).map(|(all, one)| differ(&all.values, &one.values)).sum()
}
