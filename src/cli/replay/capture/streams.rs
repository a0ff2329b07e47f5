//! SIP over TCP: segments put in order, and cut into messages as the edge cuts them (RFC 3261 §18.3).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use super::frames::{Kind, Segment};
use crate::edge::settings::Settings;
use crate::sip::framing::{Frame, Framer};

/// The connections of a capture, each way by itself.
#[derive(Default)]
pub struct Streams {
    open: HashMap<(SocketAddr, SocketAddr), Stream>,
    /// TLS, WebSocket and whatever else is no SIP.
    pub sealed: u64,
    pub gaps: u64,
}

/// So many at once. Full: all are forgotten, and found again where their next message begins.
const OPEN: usize = 20_000;
/// Segments that wait for one before them. Full: that one is missing.
pub(super) const AHEAD: usize = 64;

#[derive(Default)]
struct Stream {
    /// Number of the byte that comes next.
    next: u32,
    /// Came too early, by number.
    ahead: BTreeMap<u32, Vec<u8>>,
    framer: Framer,
    /// What the last whole message left.
    rest: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nobody knows where a message begins: the capture began later, or something is missing.
    #[default]
    Lost,
    Follows,
    /// It is not SIP.
    Sealed,
}

impl Streams {
    /// Takes a segment; `hears` is told each message that is whole with it.
    pub fn read(&mut self, segment: &Segment, edge: &Settings, mut hears: impl FnMut(Bytes)) {
        let Kind::Stream { number, begins, ends } = segment.kind else { return };
        let ends_are = (segment.from, segment.to);
        if begins {
            self.open.remove(&ends_are);
        }
        if !segment.bytes.is_empty() {
            if self.open.len() >= OPEN {
                self.open.clear();
            }
            let stream =
                self.open.entry(ends_are).or_insert_with(|| Stream { next: number, ..Stream::default() });
            let was = stream.state;
            self.gaps += stream.take(number, &segment.bytes);
            while let Some(message) = stream.next_message(edge) {
                hears(message);
            }
            self.sealed += u64::from(stream.state == State::Sealed && was != State::Sealed);
        }
        if ends {
            self.open.remove(&ends_are);
        }
    }
}

impl Stream {
    /// Puts it behind what is there, or keeps it for later. How many segments are missing for good.
    fn take(&mut self, number: u32, bytes: &[u8]) -> u64 {
        let mut gaps = 0;
        self.ahead.insert(number, bytes.to_vec());
        loop {
            let next = self.next;
            // Numbers go round at 2^32 (RFC 9293 §3.4): what lies less than half of that behind has been seen.
            let behind = |number: u32| next.wrapping_sub(number);
            let due = self.ahead.keys().copied().find(|number| behind(*number) < 1 << 31);
            let due = match due {
                Some(number) => number,
                None if self.ahead.len() >= AHEAD => {
                    let nearest = self.ahead.keys().copied().min_by_key(|number| number.wrapping_sub(next));
                    let Some(nearest) = nearest else { return gaps };
                    gaps += 1;
                    self.lose();
                    self.next = nearest;
                    nearest
                }
                None => return gaps,
            };
            let Some(bytes) = self.ahead.remove(&due) else { return gaps };
            let seen = usize::try_from(self.next.wrapping_sub(due)).unwrap_or(usize::MAX);
            if let Some(new) = bytes.get(seen..).filter(|new| !new.is_empty()) {
                self.next = self.next.wrapping_add(u32::try_from(new.len()).unwrap_or(u32::MAX));
                self.append(new);
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.state == State::Lost {
            self.state = match begins_like_sip(bytes) {
                true => State::Follows,
                // RFC 8446 §5.1: a record of TLS; RFC 6455 §4.1: a WebSocket begins with GET.
                false if matches!(bytes, [20..=23, 3, ..]) || bytes.starts_with(b"GET ") => State::Sealed,
                false => State::Lost,
            };
        }
        if self.state == State::Follows {
            self.rest.extend_from_slice(bytes);
        }
    }

    fn next_message(&mut self, edge: &Settings) -> Option<Bytes> {
        loop {
            match self.framer.next(&mut self.rest, &edge.limits.message) {
                Ok(Some(Frame::Message(bytes))) => return Some(bytes),
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => return None,
                Err(_) => {
                    self.lose();
                    return None;
                }
            }
        }
    }

    fn lose(&mut self) {
        self.rest.clear();
        self.framer = Framer::default();
        self.state = State::Lost;
    }
}

/// A start line: a response, or a method and a URI.
fn begins_like_sip(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let uri = bytes.get(method..).unwrap_or_default();
    let schemes: [&[u8]; 3] = [b" sip:", b" sips:", b" tel:"];
    bytes.starts_with(b"SIP/2.0 ") || method >= 3 && schemes.iter().any(|scheme| uri.starts_with(scheme))
}
