//! Variants that one run compares, in turns.

use clap::ValueEnum;
use lidar_features::{Backend, EngineBuilder};

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
