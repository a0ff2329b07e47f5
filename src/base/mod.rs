//! What every floor shares: time as a value, addresses that say whose they are, bans, throttles, timers, sealed tokens.

mod addr;
pub mod ban;
mod octets;
mod shrink;
pub mod throttle;
mod time;
mod timers;
mod token;

pub use addr::{ClientAddr, FlowId, ListenerId, PeerAddr, RelayedAddr, Transport, TrunkId, ZoneId};
pub use octets::Octets;
pub use shrink::should_shrink;
pub use time::{Now, UnixTime};
pub use timers::{TimerId, Timers};
pub use token::NodeKey;

/// The random numbers that a pure machine is given: a seeded generator in tests, the system's in production.
pub type Rng = Box<dyn rand::Rng + Send>;
