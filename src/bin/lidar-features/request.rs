//! What to compute and on what: the arguments that `compute` and `bench` share.

use clap::ValueEnum;
use lidar_features::{Backend, Engine, FeatureSet, Neighborhood};

use crate::failure::Failure;

#[derive(clap::Args)]
pub struct Request {
    /// Features, aliases or groups, separated by commas [default: all that need coordinates only].
    #[arg(long, value_name = "A,B,C")]
    features: Option<String>,
    /// Neighbours of each point, itself counted.
    #[arg(long, value_name = "K", default_value_t = 20)]
    knn: u32,
    #[command(flatten)]
    device: Device,
}

/// What to compute on: the arguments that every command which computes has.
#[derive(clap::Args)]
pub struct Device {
    /// What computes.
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    backend: Choice,
    /// Uses the first adapter whose name, driver or API contains this text.
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Choice {
    /// A hardware GPU where one works, else the CPU.
    Auto,
    /// A GPU, software adapters included, or an error.
    Gpu,
    /// The CPU.
    Cpu,
}

impl Request {
    /// The features, each once.
    pub fn set(&self) -> Result<FeatureSet, Failure> {
        let set = match &self.features {
            Some(list) => FeatureSet::parse(list)?,
            None => FeatureSet::geometric(),
        };
        match set.is_empty() {
            true => Err(Failure::Usage("--features names no feature".to_owned())),
            false => Ok(set),
        }
    }

    pub fn neighborhood(&self) -> Result<Neighborhood, Failure> {
        Ok(Neighborhood::knn(self.knn)?)
    }

    /// Neighbours of each point.
    pub fn k(&self) -> u32 {
        self.knn
    }

    pub fn engine(&self) -> Result<Engine, Failure> {
        self.device.engine()
    }
}

impl Device {
    pub fn engine(&self) -> Result<Engine, Failure> {
        let backend = match self.backend {
            Choice::Auto => Backend::Auto,
            Choice::Gpu => Backend::Gpu,
            Choice::Cpu => Backend::Cpu,
        };
        let mut builder = Engine::builder().backend(backend);
        if let Some(text) = &self.adapter {
            builder = builder.adapter(text);
        }
        Ok(builder.build()?)
    }
}
