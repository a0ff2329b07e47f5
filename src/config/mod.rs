//! Config and policy files: read as typed (with line and column), then as needed (names resolved).

pub mod yaml;
