//! What the integration tests share: clouds, a brute-force oracle, comparators and the GPU's gate.
#![allow(dead_code)] // Each test binary uses a part.

pub mod clouds;
pub mod compare;
pub mod gpu;
pub mod local;
pub mod oracle;
pub mod random;
pub mod tolerance;

use lidar_features::{Backend, Engine, Neighborhood};

/// An engine that computes on the CPU.
pub fn cpu_engine() -> Engine {
    Engine::builder().backend(Backend::Cpu).build().unwrap()
}

pub fn knn(k: usize) -> Neighborhood {
    Neighborhood::knn(k as u32).unwrap()
}
