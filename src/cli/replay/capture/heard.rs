//! From the messages of a capture to calls and requests: who asked for what, when it was answered and when it was over.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::frames::{Kind, Segment};
use crate::base::{Transport, UnixTime};
use crate::cli::replay::{Told, Traffic};
use crate::edge::overheard::{Overhearing, has_credentials, is_refused_login};
use crate::edge::settings::Settings;
use crate::policy::replay::Call;
use crate::sip::message::{Message, Method};

/// What was heard so far.
pub struct Heard<'s> {
    edge: &'s Settings,
    overhearing: Overhearing<'s>,
    calls: Vec<(Told, Call)>,
    /// Those whose end has not been heard, or whose answer.
    open: HashMap<Name, Open>,
    last: UnixTime,
    /// Requests to nobody of ours.
    elsewhere: u64,
    /// From outside of their listener's zone.
    outside: u64,
    malformed: u64,
    too_many: u64,
}

/// So many requests are played, which take about 1.1 kB each; the rest of the capture is not.
const REQUESTS: usize = 500_000;

/// RFC 3261 §16.6: so long a proxy waits for an answer.
const TIMER_C: Duration = Duration::from_secs(180);

/// A call by its Call-ID; another request by its number and method, too.
#[derive(PartialEq, Eq, Hash)]
struct Name {
    call_id: Box<[u8]>,
    request: Option<(u32, Box<[u8]>)>,
}

struct Open {
    /// In the list of all.
    index: usize,
    /// It came with a password.
    has_credentials: bool,
    /// It was asked for one: the same will come again, with it.
    challenged: bool,
}

impl<'s> Heard<'s> {
    pub fn new(edge: &'s Settings) -> Heard<'s> {
        Heard {
            edge,
            overhearing: Overhearing::new(edge),
            calls: Vec::new(),
            open: HashMap::new(),
            last: UnixTime(Default::default()),
            elsewhere: 0,
            outside: 0,
            malformed: 0,
            too_many: 0,
        }
    }

    /// A datagram, which may be anything.
    pub fn datagram(&mut self, segment: &Segment, at: UnixTime) {
        let line = segment.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if line.starts_with(b"SIP/2.0 ") || line.ends_with(b" SIP/2.0\r") {
            self.message(Bytes::copy_from_slice(&segment.bytes), segment, at);
        }
    }

    /// A message.
    pub fn message(&mut self, bytes: Bytes, segment: &Segment, at: UnixTime) {
        self.last = self.last.max(at);
        let Ok(message) = Message::parse(bytes, &self.edge.limits.message) else {
            self.malformed += 1;
            return;
        };
        match message.status() {
            Some(status) => self.response(&message, status, at),
            None => self.request(&message, segment, at),
        }
    }

    fn request(&mut self, request: &Message, segment: &Segment, at: UnixTime) {
        let is_call = match request.method() {
            Method::Ack | Method::Prack => return,
            Method::Bye | Method::Cancel => return self.over(request, at),
            // RFC 3261 §12.2: within a dialog.
            _ if request.to().tag().is_some() => return,
            method => method == Method::Invite,
        };
        let name = name_of(request);
        let has_credentials = has_credentials(request);
        let again = self.open.get_mut(&name);
        if again.as_ref().is_some_and(|open| !open.challenged || !has_credentials) {
            // A retransmission.
            return;
        }
        let transport = match segment.kind {
            Kind::Datagram => Transport::Udp,
            Kind::Stream { .. } => Transport::Tcp,
        };
        let Some(listener) = self.overhearing.listener(segment.from, segment.to, transport) else {
            self.elsewhere += 1;
            return;
        };
        let Some(known) = self.overhearing.known(request, segment.from, listener) else {
            self.outside += 1;
            return;
        };
        // The same call, now with a password.
        if let Some(open) = again
            && let Some((_, call)) = self.calls.get_mut(open.index)
        {
            (open.has_credentials, open.challenged) = (true, false);
            (call.known, call.ended) = (known, at);
            return;
        }
        if self.calls.len() >= REQUESTS {
            self.too_many += 1;
            return;
        }
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().into();
        let told = match is_call {
            true => Told {
                call_id: String::from_utf8_lossy(request.call_id()).into(),
                from: text(&known.from),
                to: text(&known.to),
                ..Told::default()
            },
            false => Told::default(),
        };
        let index = self.calls.len();
        self.calls.push((told, Call { known, started: at, answered: None, ended: at, login_failed: false }));
        self.open.insert(name, Open { index, has_credentials, challenged: false });
    }

    /// BYE or CANCEL.
    fn over(&mut self, request: &Message, at: UnixTime) {
        let name = Name { call_id: request.call_id().into(), request: None };
        let Some(call) = self.open.get(&name).and_then(|open| self.calls.get_mut(open.index)) else { return };
        let (_, call) = call;
        if request.method() == Method::Bye || call.answered.is_none() {
            call.ended = at;
            self.open.remove(&name);
        }
    }

    fn response(&mut self, response: &Message, status: u16, at: UnixTime) {
        if status < 200 {
            return;
        }
        let name = name_of(response);
        let Some(open) = self.open.get_mut(&name) else { return };
        let Some((_, call)) = self.calls.get_mut(open.index) else { return };
        if call.answered.is_some() {
            // Of a re-INVITE.
            return;
        }
        let is_call = name.request.is_none();
        call.login_failed |= open.has_credentials && is_refused_login(response);
        match status {
            200..300 if is_call => call.answered = Some(at),
            401 | 407 if is_call => open.challenged = true,
            _ => {
                call.ended = at.max(call.started);
                self.open.remove(&name);
            }
        }
    }

    /// Nothing more is heard.
    pub fn finish(self, path: &Path, traffic: &mut Traffic) {
        let Heard { mut calls, open, last, elsewhere, outside, malformed, too_many, .. } = self;
        let mut unfinished = 0;
        for (_, open) in open.into_iter().filter(|(name, open)| name.request.is_none() && !open.challenged) {
            if let Some((_, call)) = calls.get_mut(open.index) {
                let unanswered = UnixTime(call.started.0 + TIMER_C);
                call.ended = if call.answered.is_some() { last } else { last.min(unanswered) };
                unfinished += 1;
            }
        }
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                traffic.notes.push(format!("{}: {count} {what}", path.display()));
            }
        };
        note(elsewhere, "requests went to none of the config's listeners, and are left out");
        note(outside, "requests came from outside of their listener's zone, and are left out");
        note(malformed, "messages are no SIP that can be read");
        note(
            too_many,
            "requests more than can be played at once are left out: cut the capture (editcap -A, -B)",
        );
        note(unfinished, "calls had not ended when the capture did: they end with it");
        traffic.calls.append(&mut calls);
    }
}

fn name_of(message: &Message) -> Name {
    let cseq = message.cseq();
    let is_call = cseq.method == Method::Invite;
    let request = (!is_call).then(|| (cseq.number, cseq.method_bytes.into()));
    Name { call_id: message.call_id().into(), request }
}
