//! LAS/LAZ files in and out.
