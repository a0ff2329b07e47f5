//! One hostile message through the whole edge: a carrier sends it, a PBX is behind, and what becomes of it is seen on both sides.

use bytes::Bytes;
use turnpike::edge::Output;
use turnpike::edge::event::Event;
use turnpike::sip::message::{Limits, Message, Name};

use crate::ua::{header, headers, request};
use crate::world::{Actor, World};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The PBX gets it.
    Forwarded,
    /// Its sender is told this, once, and the PBX gets nothing.
    Refused(u16),
    /// Nobody gets anything.
    Dropped,
}

/// What it looks like on both sides.
pub struct Outcome {
    pub fate: Fate,
    /// What the PBX got, or what its sender was told; empty if dropped.
    pub bytes: Vec<u8>,
    /// Why it could not be read.
    pub malformed: Option<&'static str>,
}

impl Outcome {
    /// The same as text, for what is text.
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes.clone()).expect("text")
    }

    /// The message on the other side keeps every one of these lines byte for byte.
    #[track_caller]
    pub fn keeps(&self, lines: &[&str]) {
        for line in lines {
            let found = self.bytes.windows(line.len()).any(|window| window == line.as_bytes());
            assert!(found, "no {line:?} in:\n{}", String::from_utf8_lossy(&self.bytes));
        }
    }
}

/// Sends it over UDP, once.
#[track_caller]
pub fn send(message: impl AsRef<[u8]>) -> Outcome {
    let mut world = World::new();
    let (carrier, pbx) = (Actor::carrier(), Actor::pbx());
    let outcome = send_in(&mut world, &carrier, message.as_ref());
    // Whatever it was, the next who asks is served.
    world.send(&carrier, request(&carrier, "OPTIONS", "sip:203.0.113.11", "x", "", ""));
    world.expect(&carrier, "SIP/2.0 200");
    world.expect_nothing(&pbx);
    outcome
}

/// The same from somebody else.
#[track_caller]
pub fn send_in(world: &mut World, sender: &Actor, message: &[u8]) -> Outcome {
    world.edge.handle_message(&sender.source, Bytes::copy_from_slice(message), world.now);
    let (mut forwarded, mut answers, mut malformed) = (Vec::new(), Vec::new(), None);
    while let Some(output) = world.edge.poll_output() {
        match output {
            Output::Send { to, bytes } if Actor::pbx().is_at(&to) => forwarded.push(bytes),
            Output::Send { to, bytes } => {
                assert!(sender.is_at(&to), "to {to:?}: {bytes:?}");
                answers.push(bytes);
            }
            Output::Event(Event::Malformed { reason, .. }) => malformed = Some(reason),
            Output::Event(_) | Output::Close(_) => {}
        }
    }
    answers.retain(|answer| !answer.starts_with(b"SIP/2.0 100 "));
    forwarded.iter().for_each(assert_sound);
    let (fate, bytes) = match (&forwarded[..], &answers[..]) {
        ([], []) => (Fate::Dropped, Vec::new()),
        ([one], []) => (Fate::Forwarded, one.to_vec()),
        ([], [one]) => (Fate::Refused(status(one)), one.to_vec()),
        _ => panic!("{forwarded:?} and {answers:?}"),
    };
    Outcome { fate, bytes, malformed }
}

/// What the PBX gets can be read, and has one of each header that there is one of.
#[track_caller]
fn assert_sound(bytes: &Bytes) {
    let message = Message::parse(bytes.clone(), &Limits::default());
    let message = message.unwrap_or_else(|error| panic!("{error:?}: {}", String::from_utf8_lossy(bytes)));
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an end");
    let head = String::from_utf8_lossy(&bytes[..head]).into_owned();
    for name in ["Max-Forwards", "Call-ID", "CSeq", "From", "To", "Content-Length"] {
        assert!(headers(&head, name).len() <= 1, "{name}: {head}");
    }
    assert!(message.elements(Name::Via).count() >= 2, "{head}");
}

fn status(response: &[u8]) -> u16 {
    let status = response.get(8..11).and_then(|status| std::str::from_utf8(status).ok());
    status.and_then(|status| status.parse().ok()).expect("a response")
}

/// The RFC's own files, if they are at hand: `TURNPIKE_TORTURE_DIR` names the folder that `rfc` is in.
pub fn folder(rfc: &str) -> Option<std::path::PathBuf> {
    let Some(folder) = std::env::var_os("TURNPIKE_TORTURE_DIR") else {
        eprintln!(
            "TURNPIKE_TORTURE_DIR is not set: the {rfc} messages of our own are run, the RFC's files are not"
        );
        return None;
    };
    Some(std::path::PathBuf::from(folder).join(rfc))
}

/// A request of the carrier's, changed by this.
pub fn message(method: &str, uri: &str, change: impl FnOnce(String) -> String) -> String {
    change(request(&Actor::carrier(), method, uri, "them", "", ""))
}

/// `text` with this line instead of the header line that it names.
#[track_caller]
pub fn with_line(text: &str, line: &str) -> String {
    let name = line.split(':').next().expect("a name").trim();
    let before = format!("{name}: {}\r\n", header(text, name));
    assert!(text.contains(&before), "{before}");
    text.replacen(&before, &format!("{line}\r\n"), 1)
}
