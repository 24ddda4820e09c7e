//! Exact neighbours and surface features for every point of a 3-D point cloud, on any GPU and on the CPU.
//!
//! ```text
//! cloud ─ validate ─ frame ─ plan (chunks: core + halo) ─ backend ─ columns (in cloud order) + report
//!                                                         ├ gpu: upload → index → query → features → readback
//!                                                         └ cpu: kd-tree → query → features
//! ```
//!
//! * [`PointCloud`] borrows your columns; an [`Engine`] puts them on an integer lattice (a [`Frame`]), so that
//!   distances are exact everywhere and neighbours agree to the bit between the CPU and any GPU.
//! * [`FeatureSet`] names what to compute; [`Feature`] lists everything there is, with formula, unit and source.
//! * [`Engine::features`] and, with [`Options`], [`Engine::features_with`] give [`Columns`], [`Engine::neighbors`] gives [`Neighbors`], each with a [`Report`].
//! * [`Engine::features_at`] and [`Engine::neighbors_of`] ask at places that are no points of the cloud.
#![cfg_attr(
    feature = "las",
    doc = "* [`las`] reads and writes LAS/LAZ files, [`tiles`] computes each tile of a survey as a part of the whole."
)]
//! * [`Engine::stream`] does the same in bounded memory, from batches of points to batches of columns.
//! * [`Engine::from_device`] computes on the application's own wgpu device, [`Engine::features_on_device`] leaves the columns there.
//!
//! ```
//! use lidar_features::{Backend, Engine, Feature, FeatureSet, Neighborhood, PointCloud};
//!
//! let points: Vec<[f64; 3]> = (0..400).map(|i| [f64::from(i % 20), f64::from(i / 20), 0.0]).collect();
//! let engine = Engine::builder().backend(Backend::Cpu).build()?;
//! let set = FeatureSet::parse("normals,planarity")?;
//! let (columns, report) = engine.features(&PointCloud::from_f64(&points), &set, Neighborhood::knn(9)?)?;
//! assert_eq!(columns.get(Feature::NormalZ).unwrap()[0], 1.0);
//! assert_eq!(report.quantum, 0.01);
//! # Ok::<(), lidar_features::Error>(())
//! ```

mod backend;
mod batch;
mod cloud;
mod color;
mod columns;
mod conventions;
mod engine;
mod entropy;
mod error;
mod extras;
mod features;
mod filter;
mod frame;
mod ground;
#[cfg(feature = "las")]
pub mod las;
mod moments;
mod neighborhood;
mod options;
mod orient;
mod part;
mod passes;
mod plan;
mod report;
mod scales;
pub mod stream;
pub mod synthetic;
#[cfg(feature = "las")]
pub mod tiles;
mod together;
mod unit;
mod watch;

pub use backend::cpu::CpuSearch;
pub use backend::gpu::{AdapterInfo, adapters, required_features, required_limits};
pub use batch::{CloudInfo, PointBatch};
pub use cloud::{MAX_POINTS, PointCloud};
pub use color::ColorDepth;
pub use columns::{Column, Columns};
pub use conventions::{
    Conventions, CovNorm, Degenerate, EigenScale, Entropy, KSemantics, LineNormal, Verticality,
};
pub use engine::{Backend, DeviceColumns, Engine, EngineBuilder};
pub use error::{Error, Result};
pub use features::{Feature, FeatureSet, Flags, Input, Row, SHARP, Tolerance};
pub use frame::{Frame, MAX_EXTENT};
pub use ground::{Classes, Ground, GroundMethod};
pub use neighborhood::{Neighborhood, Neighbors};
pub use options::{Fill, Options, Orientation};
pub use report::{PoolStats, Report};
pub use unit::{Unit, UnitSource};
pub use watch::{CancelToken, Progress};
pub use wgpu;
