//! Descriptions of extra bytes: every byte of a record belongs to one dimension, whatever they say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lidar_features::las::exercise_extra_bytes(data));
