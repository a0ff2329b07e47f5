//! Phones that registered through us: which contact lives on which flow, until it expires or the flow closes. The PBX
//! challenges and decides; we remember what it accepted (RFC 5626 §5, RFC 3327).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::flow::FlowEnd;
use super::keyed::{Keyed, KeyedMap, keyed_map};
use crate::base::{FlowId, NodeKey, Rng, TimerId, Transport, UnixTime, ZoneId};

/// One accepted contact.
#[derive(Clone, Debug)]
pub struct Binding {
    /// User part of its address of record.
    pub user: Arc<str>,
    /// The phone's own Contact URI: what the Request-URI becomes on the way to it.
    pub contact: Box<[u8]>,
    /// Where it is.
    pub flow: FlowEnd,
    /// The zone it registered in.
    pub zone: ZoneId,
    /// It expires then,
    pub until: UnixTime,
    /// when this fires.
    pub timer: TimerId,
}

impl Binding {
    /// A connection ends with us, and its phone comes back and registers anew. Over UDP nobody tells a phone that we were gone.
    fn outlasts_us(&self) -> bool {
        self.flow.transport == Transport::Udp
    }
}

/// Every accepted contact, found by its key, its flow, its user.
#[derive(Debug)]
pub struct Registrations {
    /// Boxed: the table has room for up to twice as many as it holds.
    bindings: FxHashMap<u64, Box<Binding>>,
    /// By the flow's keyed hash, which is half as long: two flows may share one.
    by_flow: FxHashMap<u64, SmallVec<[u64; 1]>>,
    flow_hash: Keyed,
    by_connection: FxHashMap<FlowId, SmallVec<[u64; 1]>>,
    by_user: KeyedMap<Arc<str>, SmallVec<[u64; 1]>>,
    /// Of those that outlast us: what has changed since it was last written down.
    changed: FxHashSet<u64>,
    capacity: usize,
}

/// The key of a contact: the same for the same phone after a reconnect (`+sip.instance`, RFC 5626 §4.1, where there is
/// one; else the contact itself), so that the PBX replaces its old contact instead of collecting dead ones. Only a
/// REGISTER that the PBX accepted moves it to another flow.
pub fn binding_key(key: &NodeKey, aor: &[u8], instance: Option<(&[u8], &[u8])>, contact: &[u8]) -> u64 {
    let mac = match instance {
        Some((instance, reg_id)) => key.mac("binding by instance", &[aor, instance, reg_id]),
        None => key.mac("binding by contact", &[aor, contact]),
    };
    mac as u64
}

impl Registrations {
    /// None yet; at most `capacity` of them.
    pub fn new(capacity: usize, rng: &mut Rng) -> Registrations {
        Registrations {
            bindings: FxHashMap::default(),
            by_flow: FxHashMap::default(),
            flow_hash: Keyed::new(rng),
            by_connection: FxHashMap::default(),
            by_user: keyed_map(rng),
            changed: FxHashSet::default(),
            capacity,
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// No place for another contact.
    pub fn is_full(&self) -> bool {
        self.bindings.len() >= self.capacity
    }

    /// By key.
    pub fn get(&self, key: u64) -> Option<&Binding> {
        self.bindings.get(&key).map(|binding| &**binding)
    }

    /// Is there a live registration on this flow?
    pub fn on_flow(&self, flow: &FlowEnd) -> impl Iterator<Item = &Binding> {
        let keys = self.by_flow.get(&self.flow_hash.hash_one(flow)).into_iter().flatten();
        keys.filter_map(|key| self.get(*key)).filter(move |binding| binding.flow == *flow)
    }

    /// Contacts of a user, the latest first.
    pub fn of_user(&self, user: &str) -> impl Iterator<Item = (u64, &Binding)> {
        let keys = self.by_user.get(user).into_iter().flatten().rev();
        keys.filter_map(|key| Some((*key, self.get(*key)?)))
    }

    /// The PBX accepted this contact (again). Returns what stood there before, whose timer is to be cancelled.
    pub fn insert(&mut self, key: u64, binding: Binding) -> Option<Binding> {
        let before = self.remove(key);
        self.by_flow.entry(self.flow_hash.hash_one(binding.flow)).or_default().push(key);
        if binding.flow.transport.is_reliable() {
            self.by_connection.entry(binding.flow.flow).or_default().push(key);
        }
        self.by_user.entry(binding.user.clone()).or_default().push(key);
        if binding.outlasts_us() {
            self.changed.insert(key);
        }
        self.bindings.insert(key, Box::new(binding));
        before
    }

    /// It is gone.
    pub fn remove(&mut self, key: u64) -> Option<Binding> {
        let binding = *self.bindings.remove(&key)?;
        forget(&mut self.by_flow, &self.flow_hash.hash_one(binding.flow), key);
        forget(&mut self.by_connection, &binding.flow.flow, key);
        forget(&mut self.by_user, &binding.user, key);
        if binding.outlasts_us() {
            self.changed.insert(key);
        }
        Some(binding)
    }

    /// What has changed of those that outlast us since this was last asked: their keys, and what is there now.
    pub fn take_changed(&mut self) -> impl Iterator<Item = (u64, Option<&Binding>)> {
        let changed = std::mem::take(&mut self.changed);
        let there = |key| self.get(key).filter(|binding| binding.outlasts_us());
        changed.into_iter().map(move |key| (key, there(key)))
    }

    /// Keys of all contacts over a connection.
    pub fn keys_over(&self, flow: FlowId) -> SmallVec<[u64; 1]> {
        self.by_connection.get(&flow).cloned().unwrap_or_default()
    }

    /// Keys of all contacts on a flow.
    pub fn keys_on(&self, flow: &FlowEnd) -> SmallVec<[u64; 1]> {
        let keys = self.by_flow.get(&self.flow_hash.hash_one(flow)).into_iter().flatten().copied();
        keys.filter(|key| self.get(*key).is_some_and(|binding| binding.flow == *flow)).collect()
    }
}

fn forget<K: Hash + Eq, S: BuildHasher>(index: &mut HashMap<K, SmallVec<[u64; 1]>, S>, at: &K, key: u64) {
    if let Some(keys) = index.get_mut(at) {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}
