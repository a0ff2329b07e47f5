//! RFC 8656 by section: what each numbered rule says, asked of the server from outside; and what thieves try.
#![allow(clippy::unwrap_used)]

mod allocate;
mod attacks;
mod data;
mod never;
mod permissions;
mod refresh;
mod ruled;
mod world;
