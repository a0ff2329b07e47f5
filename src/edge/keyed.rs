//! Hash tables whose keys a stranger chooses: SipHash-1-3 under keys from the edge's own generator, so that nobody can
//! aim at one bucket. Tables keyed by ids that we mint use `FxHashMap`.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use crate::base::Rng;

/// Makes hashers under one table's key.
#[derive(Clone, Debug)]
pub struct Keyed {
    keys: (u64, u64),
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.keys.0, self.keys.1)
    }
}

impl Keyed {
    /// Under a key of its own.
    pub fn new(rng: &mut Rng) -> Keyed {
        Keyed { keys: (rng.next_u64(), rng.next_u64()) }
    }
}

/// A table whose keys come from the network.
pub type KeyedMap<K, V> = HashMap<K, V, Keyed>;

/// An empty table under a key of its own.
pub fn keyed_map<K, V>(rng: &mut Rng) -> KeyedMap<K, V> {
    HashMap::with_hasher(Keyed::new(rng))
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 subscriber holds.
pub fn source_key(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}
