//! What the integration tests share: clouds, a brute-force oracle, comparators and the GPU's gate.
#![allow(dead_code)] // Each test binary uses a part.

pub mod clouds;
pub mod compare;
pub mod gpu;
pub mod local;
pub mod oracle;
pub mod random;
pub mod requests;
pub mod seeded;
pub mod tolerance;

use lidar_features::{Backend, Engine, Feature, FeatureSet, Input, Neighborhood};

use clouds::Cloud;
use local::Local;

/// An engine that computes on the CPU.
pub fn cpu_engine() -> Engine {
    Engine::builder().backend(Backend::Cpu).build().unwrap()
}

/// The CPU, and the GPU unless the tests do without.
pub fn engines() -> Vec<(&'static str, Engine)> {
    let gpu = gpu::gpu_engine().map(|engine| ("gpu", engine));
    std::iter::once(("cpu", cpu_engine())).chain(gpu).collect()
}

pub fn knn(k: usize) -> Neighborhood {
    Neighborhood::knn(k as u32).unwrap()
}

/// Every feature of one neighbourhood's sums or of the point's own channels that the cloud has the inputs for.
pub fn features(cloud: &Cloud) -> FeatureSet {
    let others = of_members();
    let all = Feature::all().filter(|f| !f.needs_own_search() && others.iter().all(|o| o != *f));
    all.filter(|f| cloud.color.is_some() || f.row().inputs == [Input::Xyz]).collect()
}

/// Features that need every single member, or another neighbourhood: tests/members.rs is about them.
pub fn of_members() -> FeatureSet {
    FeatureSet::parse(
        "plane_fit,mean_curvature,gaussian_curvature,normal_variation,reachability_density,lof,reciprocity,\
         intensity_mean,intensity_std,red_mean,red_std,green_mean,green_std,blue_mean,blue_std,nir_mean,nir_std,\
         ndvi_mean,ndvi_std,optimal_k,optimal_radius,optimal_entropy",
    )
    .unwrap()
}

/// What the oracle says of a cloud, by feature and point.
pub fn expected<'a>(cloud: &'a Cloud, locals: &'a [Local]) -> impl Fn(Feature, usize) -> Option<f64> + 'a {
    move |feature, i| {
        oracle::value(feature, &locals[i]).or_else(|| oracle::color_value(feature, cloud.color.as_ref()?, i))
    }
}
