//! The world: the only place with sockets, threads and clocks.

pub mod relay;
pub mod settings;

pub mod udp;
