//! The README's feature table and its example are copies; this keeps them equal to what they are copied from.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use lidar_features::{Feature, Flags};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// One line for each row of the catalogue.
fn feature_table() -> String {
    let mut table =
        String::from("| feature | unit | formula | needs | GPU against CPU |\n|---|---|---|---|---|\n");
    for feature in Feature::all() {
        let row = feature.row();
        let mut name = format!("`{}`", row.name);
        for alias in row.aliases {
            write!(name, ", `{alias}`").unwrap();
        }
        let needs: Vec<_> = row.inputs.iter().map(|i| i.name()).collect();
        let cells = [name, row.unit.into(), row.formula.into(), needs.join(", "), row.tolerance.to_string()];
        writeln!(table, "| {} |", cells.map(|c| c.replace('|', "\\|")).join(" | ")).unwrap();
    }
    table
}

/// One line for each flag.
fn flag_table() -> String {
    let mut table = String::from("| bit | value | name | meaning |\n|---|---|---|---|\n");
    for (flag, name, meaning) in Flags::ALL {
        writeln!(table, "| {} | {} | `{name}` | {meaning} |", flag.0.trailing_zeros(), flag.0).unwrap();
    }
    table
}

fn quickstart() -> String {
    let source = fs::read_to_string(path("examples/quickstart.rs")).unwrap();
    let (_, code) = source.split_once("\n\n").expect("a first comment, then the code");
    format!("```rust\n{code}```\n")
}

/// Replaces what stands between the markers of `name`.
fn with_section(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("README.md lacks {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("README.md lacks {end}"));
    format!("{before}{begin}\n{content}\n{end}{after}")
}

#[test]
fn readme_is_up_to_date() {
    let readme = path("README.md");
    let text = fs::read_to_string(&readme).unwrap().replace("\r\n", "\n");
    let fresh = with_section(&text, "features", &feature_table());
    let fresh = with_section(&fresh, "flags", &flag_table());
    let fresh = with_section(&fresh, "quickstart", &quickstart());
    if text == fresh {
        return;
    }
    if std::env::var_os("LIDAR_FEATURES_BLESS").is_some_and(|v| v == "1") {
        fs::write(&readme, fresh).unwrap();
        return;
    }
    let stale = text.lines().zip(fresh.lines()).find(|(old, new)| old != new);
    panic!(
        "README.md is not what the catalogue and examples/quickstart.rs say; first difference: {stale:#?}\n\
         rewrite it with: LIDAR_FEATURES_BLESS=1 cargo test --test readme"
    );
}

#[test]
fn readme_picture_is_there_and_small() {
    let size = fs::metadata(path("docs/demo.png")).unwrap().len();
    assert!((20_000..300_000).contains(&size), "docs/demo.png has {size} bytes");
}
