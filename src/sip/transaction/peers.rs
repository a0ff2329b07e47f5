//! Which client transactions wait on which destination: a broken connection must not cost a walk over all of them.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Destination;
use super::clients::Client;
use super::table::Table;

/// Numbers of client transactions by destination. A client knows its place in its list, so leaving costs the same
/// however long the list is.
#[derive(Debug, Default)]
pub(super) struct Peers {
    waiting: FxHashMap<Destination, SmallVec<[u64; 2]>>,
}

impl Peers {
    pub(super) fn add(&mut self, number: u64, clients: &mut Table<Client>) {
        let Some(client) = clients.get_mut(number) else { return };
        let list = self.waiting.entry(client.to).or_default();
        client.place = list.len();
        list.push(number);
    }

    pub(super) fn remove(&mut self, number: u64, clients: &mut Table<Client>) {
        let Some((to, place)) = clients.get(number).map(|client| (client.to, client.place)) else { return };
        let Some(list) = self.waiting.get_mut(&to) else { return };
        list.swap_remove(place);
        match list.get(place) {
            Some(&moved) => {
                if let Some(client) = clients.get_mut(moved) {
                    client.place = place;
                }
            }
            None if list.is_empty() => {
                self.waiting.remove(&to);
            }
            None => {}
        }
    }

    pub(super) fn at(&self, to: &Destination) -> SmallVec<[u64; 2]> {
        self.waiting.get(to).cloned().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
