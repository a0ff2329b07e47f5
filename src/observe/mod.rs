//! What happened, told to people and machines: log lines, metrics, CDRs, ladders.

pub mod settings;
