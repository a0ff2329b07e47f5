//! The world: the only place with sockets, threads and clocks.

mod alerts;
mod bind;
mod certificates;
mod connections;
mod data_dir;
mod datagrams;
mod dns;
mod feeds;
mod flow;
mod http;
mod journal;
mod kept;
mod lag;
mod node;
mod open_files;
mod places;
pub mod probe;
pub mod relay;
pub mod settings;
mod shard;
mod signalling;
mod stream;
mod tls;
pub mod udp;
mod web;

pub use certificates::CertificateError;
pub use data_dir::node_key;
pub use node::{Handle, Node, NodeSettings, StartError, Status, Stopped, TurnAllocation};
pub(crate) use places::Places;
pub use tls::TlsError;
