//! RFC 5118 section by section: messages of our own that do what the RFC's do with IPv6, and what the whole edge makes of each. The
//! RFC's own files run too where `TURNPIKE_TORTURE_DIR` names them.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but looks for #[test] alone

mod originals;
mod sections;
#[path = "../support/torture.rs"]
#[allow(dead_code)] // shared with rfc4475
mod torture;
#[path = "../edge/ua.rs"]
#[allow(dead_code)] // the edge's own tests use the rest
mod ua;
#[path = "../edge/world.rs"]
#[allow(dead_code)] // the edge's own tests use the rest
mod world;
