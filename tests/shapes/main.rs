//! Clouds that break naive code, on every backend: degenerate shapes, masses of duplicates, moved and turned
//! copies, every kind of input, and input that must be refused.

#[path = "../common/mod.rs"]
mod common;

mod degenerate;
mod duplicates;
mod inputs;
mod metamorphic;
mod random_clouds;
mod refusals;
