//! `adapters`: what GPUs there are.

use serde_json::json;

use crate::failure::Failure;
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Prints an array of objects.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let adapters = lidar_features::adapters();
    if args.json {
        let list = adapters.iter().map(|a| {
            json!({
                "name": a.name,
                "driver": a.driver,
                "api": a.api,
                "kind": a.kind,
                "max_binding_bytes": a.max_binding_bytes,
                "max_buffer_bytes": a.max_buffer_bytes,
            })
        });
        return output::print_json(&list.collect());
    }
    if adapters.is_empty() {
        return output::print("no GPU adapter found\n");
    }
    let heading =
        ["name", "api", "kind", "driver", "largest binding", "largest buffer"].map(str::to_owned).to_vec();
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let rows = adapters.iter().map(|a| {
        vec![
            a.name.clone(),
            a.api.clone(),
            a.kind.to_owned(),
            a.driver.clone(),
            mib(a.max_binding_bytes),
            mib(a.max_buffer_bytes),
        ]
    });
    output::print(&output::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()))
}
