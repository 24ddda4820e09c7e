//! What to compute and on what: the arguments that `compute` and `bench` share.

use std::num::NonZeroU32;

use clap::ValueEnum;
use lidar_features::las::PointChoices;
use lidar_features::{
    Backend, ColorDepth, Columns, Conventions, Engine, EngineBuilder, Feature, FeatureSet, Fill, Ground,
    GroundMethod, Neighborhood, Options, Orientation, PointCloud, Report, Unit,
};

use crate::failure::Failure;
use crate::scope::Scope;

/// Ground points below a point where their number is not given.
const DEFAULT_HAG_NEIGHBORS: NonZeroU32 = NonZeroU32::new(8).unwrap();

#[derive(clap::Args)]
pub struct Request {
    /// Features, aliases or groups, separated by commas [default: all that need coordinates only].
    #[arg(long, value_name = "A,B,C")]
    features: Option<String>,
    /// A named set of features; those of --features are added to it. weinmann2015 and hackel2016 bring neighbourhoods of
    /// their own, unless others are named.
    #[arg(long, value_name = "NAME", value_parser = preset_names())]
    preset: Option<String>,
    /// Leaves out features whose inputs the cloud lacks, and says which, instead of failing.
    #[arg(long)]
    available: bool,
    #[command(flatten)]
    scope: Scope,
    /// What to write where a feature is undefined; 0 stands for (0, 0, 1) in normals.
    #[arg(long, value_enum, value_name = "VALUE", default_value_t = FillChoice::Nan)]
    fill: FillChoice,
    /// Defines features as another tool does; some count K without the point itself.
    #[arg(long, value_name = "NAME", default_value = "ours", value_parser = conventions_names())]
    conventions: String,
    /// Turns normals to the side of the surface that this point sees, instead of up.
    #[arg(long, value_name = "X,Y,Z", value_parser = viewpoint, allow_hyphen_values = true)]
    viewpoint: Option<Viewpoint>,
    /// Leaves points of these classes out of neighbourhoods; their own features are undefined.
    #[arg(long, value_name = "C,D", value_delimiter = ',')]
    ignore_classes: Vec<u8>,
    /// Leaves out points that are flagged as deleted.
    #[arg(long)]
    skip_withheld: bool,
    /// Classes of the ground, for heights above it.
    #[arg(long, value_name = "C,D", value_delimiter = ',', default_values_t = [2])]
    ground_classes: Vec<u8>,
    /// How the ground's height is found between ground points.
    #[arg(long, value_enum, value_name = "METHOD", default_value_t = HagChoice::Nearest)]
    hag: HagChoice,
    /// Nearest ground points that idw and plane take.
    #[arg(long, value_name = "K", default_value_t = DEFAULT_HAG_NEIGHBORS)]
    hag_neighbors: NonZeroU32,
    /// Leaves heights undefined where no ground point is within this distance in x and y, in the cloud's unit.
    #[arg(long, value_name = "D")]
    hag_max_distance: Option<f64>,
    /// Radius of count_radius and echo_ratio, in the cloud's unit [default: 2 metres].
    #[arg(long, value_name = "R")]
    count_radius: Option<f64>,
    /// Unit of the coordinates [default: what the file's reference system says, else m].
    #[arg(long, value_enum)]
    unit: Option<UnitChoice>,
    /// How colours and near-infrared are recorded [default: recognised from the values].
    #[arg(long, value_enum, value_name = "DEPTH")]
    color_depth: Option<DepthChoice>,
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
    /// Core points of a chunk on the GPU at most [default: as many as its memory allows].
    #[arg(long, value_name = "N", value_parser = positive)]
    chunk_points: Option<usize>,
    /// Memory of the GPU to use at most, as 512M or 2G [default: 2G].
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    gpu_memory: Option<u64>,
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

#[derive(Clone, Copy, ValueEnum)]
enum FillChoice {
    Nan,
    #[value(name = "0")]
    Zero,
}

#[derive(Clone, Copy, ValueEnum)]
enum HagChoice {
    /// That of the nearest ground point.
    Nearest,
    /// Mean weighted with the inverse squared distance.
    Idw,
    /// Least-squares plane.
    Plane,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnitChoice {
    /// Metre.
    M,
    /// International foot.
    Feet,
    /// US survey foot.
    UsFeet,
}

#[derive(Clone, Copy, ValueEnum)]
enum DepthChoice {
    /// 0 to 255.
    #[value(name = "8")]
    Bits8,
    /// Multiples of 256 up to 65280.
    #[value(name = "8x256")]
    Bits8Times256,
    /// Multiples of 257 up to 65535.
    #[value(name = "8x257")]
    Bits8Times257,
    /// 0 to 65535.
    #[value(name = "16")]
    Bits16,
}

/// Wrapped, since clap takes a bare array for many values.
#[derive(Clone, Copy)]
struct Viewpoint([f64; 3]);

fn viewpoint(text: &str) -> Result<Viewpoint, String> {
    let numbers: Result<Vec<f64>, _> = text.split(',').map(|v| v.trim().parse::<f64>()).collect();
    match numbers.ok().and_then(|v| <[f64; 3]>::try_from(v).ok()) {
        Some(at) if at.iter().all(|v| v.is_finite()) => Ok(Viewpoint(at)),
        _ => Err("three finite numbers are needed, separated by commas".to_owned()),
    }
}

/// A number of bytes: 512M, 2G, 1.5GiB. Letters are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let plain = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let suffixes = [("k", 10), ("m", 20), ("g", 30), ("t", 40)];
    let found = suffixes.iter().find_map(|(letter, power)| Some((plain.strip_suffix(letter)?, *power)));
    let (number, power) = found.unwrap_or((plain, 0));
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok((number * f64::from(power).exp2()) as u64),
        _ => Err("a number of bytes is needed, as 512M or 2G".to_owned()),
    }
}

fn preset_names() -> clap::builder::PossibleValuesParser {
    FeatureSet::PRESETS.iter().copied().into()
}

fn conventions_names() -> clap::builder::PossibleValuesParser {
    Conventions::NAMES.iter().copied().into()
}

impl Request {
    /// The features, each once, whether the cloud has their inputs or not.
    pub fn set(&self) -> Result<FeatureSet, Failure> {
        let mut set = match (&self.preset, &self.features) {
            (Some(name), _) => FeatureSet::preset(name)?,
            (None, Some(_)) => FeatureSet::default(),
            (None, None) => FeatureSet::geometric(),
        };
        if let Some(list) = &self.features {
            FeatureSet::parse(list)?.iter().for_each(|feature| set.insert(feature));
        }
        match set.is_empty() {
            true => Err(Failure::Usage("--features names no feature".to_owned())),
            false => Ok(set),
        }
    }

    /// Whether `set` depends on the cloud.
    pub fn only_available(&self) -> bool {
        self.available
    }

    /// The features to compute of this cloud. Says on stderr what was left out.
    pub fn set_for(&self, set: FeatureSet, cloud: &PointCloud<'_>) -> Result<FeatureSet, Failure> {
        if !self.available {
            return Ok(set);
        }
        let (kept, left_out) = set.available_with(cloud, &self.options()?);
        self.kept(kept, &left_out)
    }

    /// What is left of the features. Says on stderr what was left out.
    pub fn kept(
        &self,
        kept: FeatureSet,
        left_out: &[(Feature, &'static str)],
    ) -> Result<FeatureSet, Failure> {
        if !left_out.is_empty() {
            let list: Vec<_> = left_out.iter().map(|(f, input)| format!("{f} (needs {input})")).collect();
            eprintln!("left out: {}", list.join(", "));
        }
        match kept.is_empty() {
            true => Err(Failure::Failed("the cloud lacks the inputs of every feature".to_owned())),
            false => Ok(kept),
        }
    }

    /// The neighbourhoods that are asked for, at least one.
    pub fn neighborhoods(&self) -> Result<Vec<Neighborhood>, Failure> {
        let usual = self.preset.as_deref().map(FeatureSet::preset_neighborhoods);
        self.scope.neighborhoods(usual.unwrap_or_default())
    }

    /// Computes `set` in the neighbourhoods that are asked for.
    pub fn compute(
        &self,
        engine: &Engine,
        cloud: &PointCloud<'_>,
        set: &FeatureSet,
    ) -> Result<(Columns, Report), Failure> {
        let options = self.options()?;
        Ok(match self.neighborhoods()?[..] {
            [one] => engine.features_with(cloud, set, one, &options)?,
            ref several => engine.features_at_scales(cloud, set, several, &options)?,
        })
    }

    pub fn conventions(&self) -> Result<Conventions, Failure> {
        Ok(Conventions::named(&self.conventions)?)
    }

    /// What to compute with, and how to write it. Distances are checked before a device is opened.
    pub fn options(&self) -> Result<Options, Failure> {
        for radius in [self.count_radius, self.hag_max_distance].into_iter().flatten() {
            Neighborhood::radius(radius)?;
        }
        let options = Options::default().fill(self.fill()).ground(self.ground());
        let mut options = options.conventions(self.conventions()?);
        options.count_radius = self.count_radius;
        Ok(match self.viewpoint {
            Some(Viewpoint(at)) => options.orientation(Orientation::Viewpoint(at)),
            None => options,
        })
    }

    fn ground(&self) -> Ground {
        let k = self.hag_neighbors;
        let mut ground =
            Ground::default().classes(self.ground_classes.iter().copied()).method(match self.hag {
                HagChoice::Nearest => GroundMethod::Nearest,
                HagChoice::Idw => GroundMethod::Idw { k },
                HagChoice::Plane => GroundMethod::Plane { k },
            });
        ground.max_distance = self.hag_max_distance;
        ground
    }

    pub fn fill(&self) -> Fill {
        match self.fill {
            FillChoice::Nan => Fill::Nan,
            FillChoice::Zero => Fill::Zero,
        }
    }

    /// Classes to leave out, and whether to leave out withheld points.
    pub fn ignored(&self) -> (&[u8], bool) {
        (&self.ignore_classes, self.skip_withheld)
    }

    /// A cloud as the arguments say that it is to be taken.
    pub fn cloud<'a>(&self, mut cloud: PointCloud<'a>, ignored: Option<&'a [bool]>) -> PointCloud<'a> {
        if let Some(ignored) = ignored {
            cloud = cloud.ignoring(ignored);
        }
        let choices = self.point_choices();
        if let Some(unit) = choices.unit {
            cloud = cloud.with_unit(unit);
        }
        if let Some(depth) = choices.color_depth {
            cloud = cloud.with_color_depth(depth);
        }
        cloud
    }

    /// The same of files whose points are taken in batches.
    pub fn point_choices(&self) -> PointChoices {
        let mut choices = PointChoices::default();
        choices.ignore_classes.clone_from(&self.ignore_classes);
        choices.skip_withheld = self.skip_withheld;
        choices.unit = self.unit.map(|unit| match unit {
            UnitChoice::M => Unit::Metre,
            UnitChoice::Feet => Unit::Foot,
            UnitChoice::UsFeet => Unit::UsSurveyFoot,
        });
        choices.color_depth = self.color_depth.map(|depth| match depth {
            DepthChoice::Bits8 => ColorDepth::Bits8,
            DepthChoice::Bits8Times256 => ColorDepth::Bits8Times256,
            DepthChoice::Bits8Times257 => ColorDepth::Bits8Times257,
            DepthChoice::Bits16 => ColorDepth::Bits16,
        });
        choices
    }

    /// All that the values of columns depend on beside the points, in words that differ where they may.
    pub fn fingerprint(&self) -> Result<String, Failure> {
        let set: Vec<_> = self.set()?.iter().map(|f| f.name()).collect();
        let scales: Vec<_> = self.neighborhoods()?.iter().map(|n| n.suffix()).collect();
        let device =
            (self.device.backend.to_possible_value().map(|v| v.get_name().to_owned()), &self.device.adapter);
        let (options, points) = (self.options()?, self.point_choices());
        Ok(format!("{set:?} {scales:?} {} {options:?} {points:?} {device:?}", self.available))
    }

    pub fn engine(&self) -> Result<Engine, Failure> {
        self.device.engine()
    }

    /// Whether nothing but the CPU may compute.
    pub fn is_of_cpu(&self) -> bool {
        matches!(self.device.backend, Choice::Cpu)
    }

    /// The engine with more choices.
    pub fn engine_with(&self, more: impl FnOnce(EngineBuilder) -> EngineBuilder) -> Result<Engine, Failure> {
        Ok(more(self.device.builder()).build()?)
    }
}

/// A number of at least 1.
pub fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("it is no whole number".to_owned()),
    }
}

impl Device {
    pub fn engine(&self) -> Result<Engine, Failure> {
        Ok(self.builder().build()?)
    }

    fn builder(&self) -> EngineBuilder {
        let backend = match self.backend {
            Choice::Auto => Backend::Auto,
            Choice::Gpu => Backend::Gpu,
            Choice::Cpu => Backend::Cpu,
        };
        let mut builder = Engine::builder().backend(backend);
        if let Some(text) = &self.adapter {
            builder = builder.adapter(text);
        }
        if let Some(points) = self.chunk_points {
            builder = builder.chunk_points(points);
        }
        if let Some(bytes) = self.gpu_memory {
            builder = builder.gpu_memory(bytes);
        }
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_have_suffixes() {
        let of = |text| bytes(text).unwrap();
        assert_eq!([of("4096"), of("2k"), of("512M"), of("1.5GiB")], [4096, 2048, 512 << 20, 3 << 29]);
        assert!(["", "0", "-1G", "G", "2X", "inf"].iter().all(|text| bytes(text).is_err()));
    }
}
