//! Seeded scenes with known ground truth.
