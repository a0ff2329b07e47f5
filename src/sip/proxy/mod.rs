//! The proxy core in the RFC's order: validate (§16.3), route information (§16.4), forward (§16.6), response context
//! (§16.7). Pure functions and one small machine over messages; which target is chosen is the edge's business.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub mod branch;
pub mod forward;
pub mod hidden;
pub mod response_context;
pub mod route_info;
pub mod token;
pub mod validate;
