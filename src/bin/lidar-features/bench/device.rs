//! What the device's time stamps say of runs whose points and results stay on it.

use lidar_features::Report;
use serde_json::{Value, json};

/// Milliseconds, medians over the runs.
pub struct DeviceTimes {
    /// In order of first appearance.
    stages: Vec<(&'static str, f64)>,
    /// Of all stages of one run.
    sum: f64,
    /// From the first recorded command to the end of the last wait.
    wall: f64,
}

impl DeviceTimes {
    pub fn of(runs: &[Report]) -> Self {
        let own = |run: &Report| -> Vec<(&'static str, f64)> {
            let stage =
                |(name, seconds): &(&'static str, f64)| Some((name.strip_prefix("gpu ")?, 1e3 * seconds));
            run.stages.iter().filter_map(stage).collect()
        };
        let all: Vec<_> = runs.iter().map(own).collect();
        let mut names: Vec<&'static str> = Vec::new();
        for (name, _) in all.iter().flatten() {
            if !names.contains(name) {
                names.push(name);
            }
        }
        let of_run = |run: &[(&str, f64)], name: &str| {
            run.iter().find(|stage| stage.0 == name).map_or(0.0, |stage| stage.1)
        };
        let of_stage = |name: &'static str| (name, median(all.iter().map(|run| of_run(run, name))));
        Self {
            stages: names.into_iter().map(of_stage).collect(),
            sum: median(all.iter().map(|run| run.iter().map(|stage| stage.1).sum())),
            wall: median(runs.iter().map(|run| 1e3 * run.seconds)),
        }
    }

    pub fn json(&self) -> Value {
        let stages: serde_json::Map<_, _> =
            self.stages.iter().map(|(name, ms)| ((*name).to_owned(), json!(ms))).collect();
        json!({ "stages_ms": stages, "sum_ms": self.sum, "wall_ms": self.wall })
    }

    /// Rows of a table.
    pub fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, ms: f64| vec![name.to_owned(), format!("{ms:.3} ms")];
        let mut rows = vec![row("on the device", self.sum)];
        rows.extend(self.stages.iter().map(|(name, ms)| row(&format!("  {name}"), *ms)));
        rows.push(row("submit and wait", self.wall));
        rows
    }
}

/// The value in the middle, or the mean of the two there.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => f64::midpoint(values[(n - 1) / 2], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_stage_and_of_the_sums() {
        let run = |seconds, stages: &[(&'static str, f64)]| {
            let mut report = Report::default();
            (report.seconds, report.stages) = (seconds, stages.to_vec());
            report
        };
        let runs = [
            run(0.010, &[("gpu index", 0.001), ("gpu search", 0.005), ("wait", 0.009)]),
            run(0.030, &[("gpu index", 0.004), ("gpu search", 0.006), ("gpu search wide", 0.002)]),
            run(0.020, &[("gpu index", 0.002), ("gpu search", 0.001)]),
        ];
        let times = DeviceTimes::of(&runs);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let names: Vec<_> = times.stages.iter().map(|stage| stage.0).collect();
        assert_eq!(names, ["index", "search", "search wide"]);
        assert!(times.stages.iter().zip([2.0, 5.0, 0.0]).all(|(stage, ms)| near(stage.1, ms)));
        assert!(near(times.sum, 6.0) && near(times.wall, 20.0));
        assert!(near(DeviceTimes::of(&runs[..2]).wall, 20.0) && near(DeviceTimes::of(&[]).sum, 0.0));
    }
}
