//! What users write: lists of features, presets, conventions, and the command line's neighbourhoods.
#![no_main]

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use lidar_features::{Conventions, FeatureSet};

#[path = "../../src/bin/lidar-features/failure.rs"]
#[allow(dead_code)]
mod failure;
#[path = "../../src/bin/lidar-features/scope.rs"]
#[allow(dead_code)]
mod scope;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    scope: scope::Scope,
}

fuzz_target!(|text: &str| {
    if let Ok(set) = FeatureSet::parse(text) {
        let names: Vec<_> = set.iter().map(|feature| feature.name()).collect();
        assert_eq!(FeatureSet::parse(&names.join(",")).unwrap(), set);
    }
    let _ = FeatureSet::preset(text);
    let _ = Conventions::named(text);
    // The whole text as one argument, and its words as several.
    for option in ["--scales", "--optimal-k", "--knn", "--radius"] {
        parse([option, text].into_iter());
    }
    parse(text.split_whitespace());
});

fn parse<'a>(arguments: impl Iterator<Item = &'a str>) {
    let Ok(arguments) = Arguments::try_parse_from(std::iter::once("fuzz").chain(arguments)) else { return };
    let Ok(neighborhoods) = arguments.scope.neighborhoods() else { return };
    assert!(!neighborhoods.is_empty());
    for neighborhood in &neighborhoods {
        assert!(!neighborhood.suffix().is_empty() && !scope::words(neighborhood).is_empty());
        let (most, distance) = scope::bounds(neighborhood, &Conventions::ours());
        assert!(most.is_some() || distance.is_some());
        assert!(distance.is_none_or(|distance| distance.is_finite() && distance > 0.0));
    }
}
