//! Turnpike: a SIP edge proxy with a media relay and YAML policies in one process.
//!
//! This page is the map of the house (docs/architecture.md draws it). What decides is pure and takes
//! [`base::Now`]; sockets, threads and clocks live in [`net`] alone. Imports run one way, from the bottom of
//! this list to the top, and `tests/tidy.rs` reads the source to keep it so.
//!
//! | floor | modules |
//! |---|---|
//! | words everyone uses | [`base`] |
//! | wire formats and machines | [`sip`], [`sdp`], [`stun`], [`turn`], [`ice`], [`media`], [`relay`], [`policy`] |
//! | the transaction user | [`edge`] |
//! | what it is told, what it tells | [`config`], [`observe`] |
//! | the world | [`net`], [`admin`], [`cli`] |
#![deny(clippy::unimplemented)]

pub mod admin;
pub mod base;
pub mod cli;
pub mod config;
pub mod edge;
pub mod ice;
pub mod media;
pub mod net;
pub mod observe;
pub mod policy;
pub mod relay;
pub mod sdp;
pub mod sip;
pub mod stun;
pub mod turn;
