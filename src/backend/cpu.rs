//! The CPU strategy.
use super::*;
#[derive(Debug)]
pub(crate) struct Cpu;
impl Strategy for Cpu {
    fn features(&self, _: &Job<'_>, _: &FeatureSet, _: &mut Report) -> Result<RawColumns> {
        Err(crate::error::Error::CpuIndex("not in this build".into()))
    }
    fn neighbors(&self, _: &Job<'_>, _: &mut Report) -> Result<Neighbors> {
        Err(crate::error::Error::CpuIndex("not in this build".into()))
    }
}
