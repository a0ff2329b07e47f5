//! The ladder: every message in and out as an event, while somebody looks.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::event::{Event, LadderMessage};
use super::{Edge, Output};
use crate::base::{FlowId, ListenerId, Now, UnixTime};
use crate::sip::transaction::{Destination, Source};

/// Whether somebody looks, and who is at the end of the connections seen since.
#[derive(Debug, Default)]
pub struct Ladder {
    is_on: bool,
    ends: FxHashMap<FlowId, (String, ListenerId)>,
    now: Option<UnixTime>,
}

impl Ladder {
    /// The connection is gone.
    pub fn forget(&mut self, flow: FlowId) {
        self.ends.remove(&flow);
    }
}

impl Edge {
    /// Makes [`Event::Message`] for every message from now on.
    pub fn trace_messages(&mut self, on: bool) {
        self.ladder = Ladder { is_on: on, ..Ladder::default() };
    }

    /// A message arrived.
    pub(super) fn show_received(&mut self, source: &Source, bytes: &Bytes, now: Now) {
        if !self.ladder.is_on {
            return;
        }
        self.ladder.now = Some(now.unix);
        let remote = format!("{}:{}", source.transport.scheme(), source.remote);
        if source.transport.is_reliable() {
            self.ladder.ends.insert(source.flow, (remote.clone(), source.listener));
        }
        self.show(true, remote, source.listener, bytes);
    }

    /// Sends a message.
    pub(super) fn send(&mut self, to: Destination, bytes: Bytes) {
        if self.ladder.is_on {
            let (remote, listener) = match to {
                Destination::Address { listener, transport, remote, .. } => {
                    (format!("{}:{remote}", transport.scheme()), listener)
                }
                Destination::Flow(flow) => {
                    self.ladder.ends.get(&flow).cloned().unwrap_or_else(|| ("?".into(), ListenerId(0)))
                }
            };
            self.show(false, remote, listener, &bytes);
        }
        self.outputs.push_back(Output::Send { to, bytes });
    }

    fn show(&mut self, received: bool, remote: String, listener: ListenerId, bytes: &Bytes) {
        let at = self.ladder.now.unwrap_or(UnixTime(std::time::Duration::ZERO));
        let message = LadderMessage { at, received, remote, listener, bytes: bytes.clone() };
        self.tell(Event::Message(Box::new(message)));
    }
}
