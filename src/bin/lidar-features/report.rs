//! A run's report as JSON. Keys are added by later versions, never renamed.

use lidar_features::{ColorDepth, Report};
use serde_json::{Map, Value, json};

pub fn json(report: &Report) -> Map<String, Value> {
    let stages: Map<_, _> =
        report.stages.iter().map(|(name, seconds)| ((*name).to_owned(), json!(seconds))).collect();
    let pool = &report.pool;
    let [rgb, nir] = report.color;
    let value = json!({
        "points": report.points,
        "backend": report.backend,
        "adapter": report.adapter,
        "fallback": report.fallback,
        "quantum": report.quantum,
        "unit": report.unit.to_string(),
        "vertical_unit": report.vertical_unit.to_string(),
        "unit_source": report.unit_source.to_string(),
        "left_out": report.left_out,
        "chunks": report.chunks,
        "stragglers": report.stragglers,
        "seconds": report.seconds,
        "stages": stages,
        "pool": {
            "hits": pool.hits,
            "misses": pool.misses,
            "reuse_rate": pool.reuse_rate(),
            "bytes_requested": pool.bytes_requested,
            "bytes_in_use": pool.bytes_in_use,
            "bytes_idle": pool.bytes_idle,
            "bytes_peak": pool.bytes_peak,
            "bytes_padding": pool.bytes_padding,
            "padding_rate": pool.padding_rate(),
            "trims": pool.trims,
            "refusals": pool.refusals,
            "out_of_memory_retries": pool.out_of_memory_retries,
            "allocation_seconds": pool.allocation_seconds,
            "bind_groups_made": pool.bind_groups_made,
            "bind_groups_reused": pool.bind_groups_reused,
            "query_sets_made": pool.query_sets_made,
        },
        "conventions": report.conventions,
        "redefined": report.redefined.iter().map(|f| f.name()).collect::<Vec<_>>(),
        "members": report.members,
        "features": report.features.iter().map(|f| f.name()).collect::<Vec<_>>(),
        "color": { "rgb": rgb.map(|d| d.to_string()), "nir": nir.map(|d| d.to_string()) },
        "color_range": { "rgb": rgb.map(ColorDepth::full_scale), "nir": nir.map(ColorDepth::full_scale) },
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// One line for people: who computed, and why it was not a GPU.
pub fn who(report: &Report) -> String {
    let mut text = report.backend.to_owned();
    if let Some(adapter) = &report.adapter {
        text.push_str(&format!(" ({adapter})"));
    }
    if let Some(reason) = &report.fallback {
        text.push_str(&format!(" (no GPU: {reason})"));
    }
    text
}
