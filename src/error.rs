//! Every way in which a call of this crate can fail.

use crate::color::ColorDepth;
use crate::features::Feature;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with the numbers that show it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A coordinate is NaN or infinite.
    #[error("coordinate {axis} of point {index} is not finite; {count} points have such a coordinate")]
    NonFinite {
        /// First point with such a coordinate.
        index: usize,
        /// Its axis: `x`, `y` or `z`.
        axis: char,
        /// How many points have one.
        count: usize,
    },
    /// Two columns of one cloud differ in length.
    #[error("column {column} has {found} values, the cloud has {expected} points")]
    LengthMismatch {
        /// Which column.
        column: &'static str,
        /// Its length.
        found: usize,
        /// The number of points.
        expected: usize,
    },
    /// More points than 32-bit indices can name.
    #[error("{points} points are more than the {limit} that one cloud may have")]
    TooManyPoints {
        /// Points given.
        points: usize,
        /// Points allowed.
        limit: usize,
    },
    /// A quantum that is not a positive, finite number.
    #[error("quantum {0} is not a positive finite number")]
    InvalidQuantum(f64),
    /// The cloud is wider than the lattice.
    #[error("axis {axis} spans {quanta:.0} quanta of {quantum}, more than {limit}")]
    ExtentTooLarge {
        /// `x`, `y` or `z`.
        axis: char,
        /// The extent, in quanta.
        quanta: f64,
        /// The quantum, in the cloud's unit.
        quantum: f64,
        /// Quanta allowed.
        limit: u32,
    },
    /// Queries and cloud cannot stand on one lattice: their quanta differ, or their origins are no whole number of
    /// quanta apart.
    #[error("queries and cloud have no lattice in common: quanta {quanta:?}, origins {origins:?}")]
    FramesDiffer {
        /// Of the queries and of the cloud.
        quanta: [f64; 2],
        /// Of the queries and of the cloud; zeros where quanta were stated for coordinates.
        origins: [[f64; 3]; 2],
    },
    /// A neighbourhood that holds no point.
    #[error("k = 0: a neighbourhood needs at least one point")]
    ZeroNeighbors,
    /// A radius that is not a positive, finite number.
    #[error("radius {0} is not a positive finite number")]
    InvalidRadius(f64),
    /// A range of neighbours that holds no number.
    #[error(
        "no k from {least} to {most} by {step}: the range must begin above 0, not end before, and have a step"
    )]
    InvalidRange {
        /// Its first number.
        least: u32,
        /// Its last number.
        most: u32,
        /// From one number to the next.
        step: u32,
    },
    /// A list of neighbourhoods that features cannot be computed in.
    #[error("{0}")]
    InvalidScales(String),
    /// A feature needs an input that the cloud lacks.
    #[error("{}", missing_inputs(.0))]
    MissingInputs(Vec<(Feature, &'static str)>),
    /// A colour or near-infrared value that its channel's stated depth does not have.
    #[error("{channel} has values up to {largest}, {depth} ends at {}", .depth.full_scale())]
    ColorBeyondDepth {
        /// `rgb` or `nir`.
        channel: &'static str,
        /// Largest value there is.
        largest: u16,
        /// The depth that the caller stated.
        depth: ColorDepth,
    },
    /// A feature says something of points of a cloud, and nothing of other places.
    #[error("{0} is about points of the cloud, queries have none")]
    NotForQueries(Feature),
    /// A viewpoint with a coordinate that is NaN or infinite.
    #[error("viewpoint {0:?} is not finite")]
    InvalidViewpoint([f64; 3]),
    /// No preset has this name.
    #[error("unknown preset {name:?}, there are {}", .known.join(", "))]
    UnknownPreset {
        /// The name given.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// No profile of conventions has this name.
    #[error("unknown conventions {name:?}, there are {}", .known.join(", "))]
    UnknownConventions {
        /// The name given.
        name: String,
        /// The names there are.
        known: &'static [&'static str],
    },
    /// No feature has this name.
    #[error("unknown feature {name:?}{}", suggestion.map_or(String::new(), |s| format!(", did you mean {s:?}?")))]
    UnknownFeature {
        /// The name given.
        name: String,
        /// The closest name there is.
        suggestion: Option<&'static str>,
    },
    /// No adapter answers, or none matches.
    #[error("no usable GPU adapter: {0}")]
    NoAdapter(String),
    /// A device that the application handed over grants less than the kernels need
    /// ([`required_limits`](crate::required_limits) says what to ask for).
    #[error("limit {limit} of the given device is {has}, the kernels need {needed}")]
    DeviceTooSmall {
        /// The limit's name in [`wgpu::Limits`].
        limit: &'static str,
        /// What is needed.
        needed: u64,
        /// What the device grants.
        has: u64,
    },
    /// What was asked for cannot be left on the device: see [`Engine::features_on_device`](crate::Engine::features_on_device).
    #[error("columns cannot stay on the GPU: {0}")]
    NotOnDevice(String),
    /// The device takes no time stamps of its work.
    #[error("{adapter} has no time stamps")]
    NoTimeStamps {
        /// Its name, driver and API.
        adapter: String,
    },
    /// The device refused limits, a shader, a pipeline or a command.
    #[error("GPU error in {stage}: {message}")]
    Gpu {
        /// What was being done.
        stage: &'static str,
        /// The device's words.
        message: String,
    },
    /// The device ran out of memory, also after the pool was trimmed.
    #[error("GPU out of memory: {bytes} bytes for {what}")]
    GpuOutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// What for.
        what: &'static str,
    },
    /// The device is gone.
    #[error("GPU device lost: {0}")]
    DeviceLost(String),
    /// The device did not answer in time.
    #[error("GPU did not answer within {seconds} s during {stage}")]
    Timeout {
        /// What was being waited for.
        stage: &'static str,
        /// How long.
        seconds: u64,
    },
    /// A chunk cannot be made small enough for the device's limits.
    #[error("a chunk needs {bytes} bytes in one {what}, the device allows {limit}")]
    ChunkTooLarge {
        /// Bytes needed.
        bytes: u64,
        /// The limited thing.
        what: &'static str,
        /// Bytes allowed.
        limit: u64,
    },
    /// The CPU index refused the points.
    #[error("CPU index: {0}")]
    CpuIndex(String),
    /// Reading or writing a file failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// A LAS/LAZ file is damaged, forged or of a kind that cannot be kept.
    #[error("{path}: {message}")]
    Las {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The input already has a dimension of an output column's name.
    #[error("the input already has dimension {name:?} (overwriting columns must be asked for)")]
    ColumnExists {
        /// The dimension.
        name: String,
    },
    /// Batches of one cloud have different columns.
    #[error("batches of one cloud have different columns")]
    BatchesDiffer,
    /// Two tiles cannot stand on one lattice.
    #[error("{} and {} have no lattice in common: {message}", .files[0], .files[1])]
    TilesDiffer {
        /// The files.
        files: [String; 2],
        /// Why.
        message: String,
    },
    /// A source gave other points when it was read again.
    #[error("the source's points changed between two readings, at point {point}")]
    SourceChanged {
        /// The first point that does not fit, or how many there were.
        point: u64,
    },
    /// Points that have to be in memory together do not fit.
    #[error("{points} points have to be in memory together, some {bytes} bytes; the budget is {budget}")]
    BudgetTooSmall {
        /// How many points.
        points: u64,
        /// Bytes that they take, about.
        bytes: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Whether a GPU failed, and the CPU need not.
    pub(crate) fn is_of_gpu(&self) -> bool {
        matches!(
            self,
            Self::Gpu { .. }
                | Self::GpuOutOfMemory { .. }
                | Self::DeviceLost(_)
                | Self::Timeout { .. }
                | Self::ChunkTooLarge { .. }
        )
    }
}

fn missing_inputs(missing: &[(Feature, &'static str)]) -> String {
    let mut text = String::from("missing input: ");
    for (i, (feature, input)) in missing.iter().enumerate() {
        if i > 0 {
            text.push_str(", ");
        }
        text.push_str(feature.name());
        text.push_str(" needs ");
        text.push_str(input);
    }
    text
}
