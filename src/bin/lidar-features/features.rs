//! `features`: the catalogue.

use lidar_features::{Feature, Row};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Prints an array of objects.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let rows = Feature::all().map(Feature::row);
    if args.json {
        return output::print_json(&rows.map(object).collect());
    }
    let heading = ["name", "LAS name", "unit", "range", "inputs", "formula"].map(str::to_owned).to_vec();
    let cells = rows.map(|row| {
        vec![
            row.name.to_owned(),
            row.las_name(),
            row.unit.to_owned(),
            format!("{}..{}", row.range.0, row.range.1),
            inputs(row).join(","),
            row.formula.to_owned(),
        ]
    });
    output::print(&output::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>()))
}

fn object(row: &Row) -> Value {
    // JSON has no infinity; an open end is null.
    let end = |v: f64| v.is_finite().then_some(v);
    json!({
        "name": row.name,
        "las_name": row.las_name(),
        "unit": row.unit,
        "range": [end(row.range.0), end(row.range.1)],
        "formula": row.formula,
        "source": row.source,
        "inputs": inputs(row),
        "tolerance": row.tolerance.to_string(),
        "aliases": row.aliases,
    })
}

fn inputs(row: &Row) -> Vec<&'static str> {
    row.inputs.iter().map(|input| input.name()).collect()
}
