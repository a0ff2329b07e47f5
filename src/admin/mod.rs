//! The admin listener: metrics and status over HTTP.

pub mod settings;
