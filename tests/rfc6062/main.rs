//! RFC 6062 by section: what each numbered rule says of TCP allocations, asked of the server from outside; and what thieves
//! try.
#![allow(clippy::unwrap_used)]

mod accept;
mod allocate;
mod attacks;
mod bind;
mod connect;
mod end;
mod net;
mod never;
#[path = "../rfc8656/world.rs"]
#[allow(dead_code, reason = "both suites use the world, each another part of it")]
mod world;
